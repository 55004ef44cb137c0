import Vitals

/// Decides when a status line is sent: at once when the last one is a second old, else the latest of them when it is; never the same twice.
struct StatusThrottle: Sendable {
    private let interval: Duration
    private var sent: (text: String, at: MonotonicInstant)?
    private var held: String?

    init(interval: Duration = .seconds(1)) {
        self.interval = interval
    }

    /// The line to send now, or nil: nothing new, or held until its turn comes.
    mutating func offer(_ text: String, now: MonotonicInstant) -> String? {
        held = text
        return due(now: now)
    }

    /// The held line if its time has come.
    mutating func due(now: MonotonicInstant) -> String? {
        guard let text = held else { return nil }
        if let sent {
            if sent.text == text {
                held = nil
                return nil
            }
            guard now - sent.at >= interval else { return nil }
        }
        held = nil
        sent = (text, now)
        return text
    }

    /// The line could not be sent after all.
    mutating func giveBack(_ text: String) {
        sent = nil
        if held == nil { held = text }
    }
}
