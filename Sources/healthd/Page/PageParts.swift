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

    /// The same shape for the tab, with colours that stand on light and dark alike.
    static func icon(_ state: HealthState) -> HTML {
        let drawing =
            switch state {
            case .healthy: "%3Ccircle cx='8' cy='8' r='6' fill='%2324a05a'/%3E"
            case .unknown: "%3Cpath d='M8 1.5 14.5 8 8 14.5 1.5 8Z' fill='none' stroke='%23808a99' stroke-width='2'/%3E"
            case .degraded: "%3Cpath d='M8 1.5 15 14H1Z' fill='%23e09a1a'/%3E"
            case .critical: "%3Cpath d='M2 2h12v12H2Z' fill='%23e5484d'/%3E"
            }
        return "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\(drawing)%3C/svg%3E"
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
    static func recent(_ outcomes: [ProbeOutcome]) -> HTML {
        guard !outcomes.isEmpty else { return "<span class=\"none\">none</span>" }
        let failed = outcomes.count { $0 != .ok }
        let label =
            failed == 0 ? "the last \(outcomes.count) looks succeeded" : "\(failed) of the last \(outcomes.count) looks failed"
        let ticks: [HTML] = outcomes.enumerated().map { index, outcome in
            let height = outcome == .ok ? 6 : 16
            return """
                <rect class="\(outcome == .ok ? "healthy" : "critical")" x="\(index * 5)" y="\(16 - height)" width="4" height="\(height)"><title>\(outcome.rawValue)</title></rect>
                """
        }
        return """
            <svg class="recent" viewBox="0 0 \(outcomes.count * 5) 16" width="\(outcomes.count * 5)" height="16" role="img" aria-label="\(label)">\(ticks)</svg>
            """
    }

    /// Time of day in UTC: without script the server cannot know where the reader is.
    static func time(_ time: WallTime) -> HTML {
        "<span class=\"utc\">\(clock(time)) UTC</span>"
    }

    /// Without the zone, where a heading has named it.
    static func clock(_ time: WallTime) -> HTML {
        let text = time.rfc3339
        return "<time datetime=\"\(text)\">\(String(text.dropFirst(11).prefix(8)))</time>"
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
