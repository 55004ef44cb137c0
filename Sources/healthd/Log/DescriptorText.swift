import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// Writes text to a descriptor, whole or with the reason why not; past the C library's streams, which lose what they keep without a word, and
/// whose variables Swift does not let many threads touch.
enum DescriptorText {
    enum Failure: Error, Sendable, Hashable {
        /// Not, or not all of it: the reader did not take it in time.
        case late
        /// Not, or not all of it, with the number of the error. EPIPE: nobody has the other end open now; of a FIFO somebody may open it again.
        case errno(Int32)
    }

    /// Every pipe that is ready takes as much at once.
    private static let pieceLimit = Int(PIPE_BUF)

    /// - Parameter deadline: to give up at; nil waits for the reader however long it takes.
    /// - Returns: nil when all of it was written.
    static func write(_ text: String, to descriptor: Int32, until deadline: MonotonicInstant? = nil) -> Failure? {
        var text = text
        return text.withUTF8 { bytes in
            var written = 0
            while written < bytes.count {
                if let deadline, !isReady(descriptor, until: deadline) { return .late }
                let size = deadline == nil ? bytes.count - written : min(bytes.count - written, pieceLimit)
                let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + written }, size)
                if count >= 0 {
                    written += count
                    continue
                }
                switch errno {
                case EINTR: continue
                // Somebody who shares the pipe made it non-blocking.
                case EAGAIN: _ = isReady(descriptor, until: deadline ?? .now() + .seconds(60))
                case let number: return .errno(number)
                }
            }
            return nil
        }
    }

    private static func isReady(_ descriptor: Int32, until deadline: MonotonicInstant) -> Bool {
        while true {
            let left = deadline - MonotonicInstant.now()
            guard left > .zero else { return false }
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let count = poll(&entry, 1, Int32(clamping: left.nanoseconds / 1_000_000 + 1))
            if count > 0 { return true }
            if count < 0, errno != EINTR { return false }
        }
    }
}

/// The last words of a verb that failed. They are bounded in time, so that the exit status comes though nobody reads them; in the journal
/// they are errors.
func writeToStandardError(_ text: String) {
    // An end by SIGPIPE would hide the exit status.
    signal(SIGPIPE, SIG_IGN)
    let isJournal = LogDestination.ofStandardError() == .journal
    // Source: sd-daemon(3), SD_ERR.
    let lines = isJournal ? text.split(separator: "\n").map { "<3>\($0)\n" }.joined() : text
    _ = DescriptorText.write(lines, to: STDERR_FILENO, until: .now() + .seconds(5))
}
