import Probes
import Vitals

/// The small shapes the page is made of.
enum PageParts {
    /// Circle, diamond, triangle, square: told apart without colour. Hidden from screen readers, who get the word.
    static func shape(_ state: HealthState) -> HTML {
        let path: HTML =
            switch state {
            case .healthy: "<circle cx=\"8\" cy=\"8\" r=\"6\"/>"
            case .unknown: "<path d=\"M8 1.5 14.5 8 8 14.5 1.5 8Z\" class=\"hollow\"/>"
            case .degraded: "<path d=\"M8 1.5 15 14H1Z\"/>"
            case .critical: "<path d=\"M2 2h12v12H2Z\"/>"
            }
        return "<svg class=\"shape\" viewBox=\"0 0 16 16\" aria-hidden=\"true\">\(path)</svg>"
    }

    static func status(_ state: HealthState) -> HTML {
        "<span class=\"status \(state.rawValue)\">\(shape(state))\(state.rawValue)</span>"
    }

    /// How full, 0 to 1. The number beside it says the same; so this is decoration to a screen reader.
    static func bar(_ share: Double) -> HTML {
        let width = Int((min(max(share.isFinite ? share : 0, 0), 1) * 100).rounded())
        return """
            <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="4"/><rect class="fill" width="\(width)" height="4"/></svg>
            """
    }

    /// One tick for each of the last looks, oldest first; its height says what its colour says.
    static func recent(_ states: [HealthState]) -> HTML {
        guard !states.isEmpty else { return "<span class=\"none\">none</span>" }
        let bad = states.count { $0 != .healthy }
        let label = bad == 0 ? "the last \(states.count) looks were fine" : "\(bad) of the last \(states.count) looks were not fine"
        let ticks: [HTML] = states.enumerated().map { index, state in
            let height = state == .healthy ? 6 : state == .unknown ? 9 : state == .degraded ? 12 : 16
            return "<rect class=\"\(state.rawValue)\" x=\"\(index * 5)\" y=\"\(16 - height)\" width=\"4\" height=\"\(height)\"/>"
        }
        return """
            <svg class="recent" viewBox="0 0 \(states.count * 5) 16" width="\(states.count * 5)" height="16" role="img" aria-label="\(label)">\(ticks)</svg>
            """
    }

    /// Time of day in UTC: without script the server cannot know where the reader is.
    static func time(_ time: WallTime) -> HTML {
        let text = time.rfc3339
        return "<time datetime=\"\(text)\">\(String(text.dropFirst(11).prefix(8))) UTC</time>"
    }
}

extension HealthState {
    /// At the beginning of a sentence.
    var word: String {
        switch self {
        case .healthy: "Healthy"
        case .unknown: "Unknown"
        case .degraded: "Degraded"
        case .critical: "Critical"
        }
    }
}
