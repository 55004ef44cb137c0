/// The fields used of `/proc/PID/stat`. Source: proc_pid_stat(5).
public struct ProcessStat: Sendable, Equatable {
    /// `R`, `S`, `D`, `T` and so on; `Z` and `X` are of a process that has ended.
    public var state: Character
    public var parent: Int32
    var userTicks: Int
    var systemTicks: Int
    var threads: Int
    /// Clock ticks after boot; with the process id, unique until the next boot.
    public var startTicks: UInt64
    var virtualBytes: Int

    /// Nil when fields are missing, or are not what they should be.
    public init?(procText text: String) {
        // The second field is the program's name in parentheses; it may itself hold blanks and parentheses.
        guard let close = text.lastIndex(of: ")") else { return nil }
        // The first field after the name is number 3 of the manual page.
        let fields = text[text.index(after: close)...].split(whereSeparator: \.isWhitespace)
        func field<Number: FixedWidthInteger>(_ number: Int) -> Number? { fields.count > number - 3 ? Number(fields[number - 3]) : nil }
        guard let state = fields.first?.first, let parent: Int32 = field(4), let user: Int = field(14), let system: Int = field(15),
            let threads: Int = field(20), let start: UInt64 = field(22), let size: Int = field(23)
        else { return nil }
        (self.state, self.parent, userTicks, systemTicks, self.threads, startTicks, virtualBytes) = (state, parent, user, system, threads, start, size)
    }
}
