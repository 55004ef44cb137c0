import Vitals

/// How far long work has come: a bar that redraws itself on a terminal, a line now and then elsewhere.
struct ProgressText: Sendable {
    let isTerminal: Bool
    private var lastLabel = ""
    private var lastTenth = -1

    init(isTerminal: Bool) {
        self.isTerminal = isTerminal
    }

    /// What to write for this much done, or nil when it says nothing new.
    mutating func update(_ label: String, done: Int, of total: Int) -> String? {
        let share = total > 0 ? min(1, max(0, Double(done) / Double(total))) : 1
        if isTerminal {
            let filled = Int(share * 30)
            let bar = String(repeating: "#", count: filled) + String(repeating: " ", count: 30 - filled)
            let percent = String(Int(share * 100))
            let padding = String(repeating: " ", count: 3 - percent.count)
            return "\r[\(bar)] \(padding)\(percent) %  \(label.oneLine(limit: 60))\u{1B}[K"
        }
        let tenth = Int(share * 10)
        guard label != lastLabel || tenth != lastTenth else { return nil }
        (lastLabel, lastTenth) = (label, tenth)
        return "\(label): \(done) of \(total) (\(Int(share * 100)) %)\n"
    }

    /// What ends the display.
    var end: String { isTerminal ? "\n" : "" }
}
