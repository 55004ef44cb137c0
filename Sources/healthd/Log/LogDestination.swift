#if canImport(Glibc)
    import Glibc
#endif

/// Where the log goes: to standard error, unless that is the journal's, which takes fields instead of lines.
///
/// Standard error alone decides: where it is a file and only standard output is the journal's, somebody wants the log in that file.
/// Source: systemd.exec(5), JOURNAL_STREAM.
enum LogDestination: Sendable, Hashable {
    case journal
    case lines

    /// - Parameter journalStream: `DEVICE:INODE` of the socket that leads to the journal, as systemd has put it into the environment.
    init(journalStream: String?, device: UInt64, inode: UInt64) {
        self = journalStream == "\(device):\(inode)" ? .journal : .lines
    }

    /// Of this process.
    static func ofStandardError() -> LogDestination {
        var status = stat()
        guard let text = getenv("JOURNAL_STREAM"), fstat(STDERR_FILENO, &status) == 0 else { return .lines }
        return LogDestination(journalStream: String(cString: text), device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }
}
