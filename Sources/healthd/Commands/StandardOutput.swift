import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// What a verb prints: written at once, at the pace of whoever reads it, and not by way of the C library's buffer, which loses it without a word.
enum StandardOutput {
    /// The number of the error that the first text met which could not be written; nothing is printed after it.
    private static let failure = Mutex<Int32?>(nil)

    static func print(_ text: String, terminator: String = "\n", to descriptor: Int32 = STDOUT_FILENO) {
        failure.withLock { failure in
            if failure == nil { failure = write(text + terminator, to: descriptor) }
        }
    }

    /// Why what was printed is not where it should be; nil when it is. Whoever closes the pipe, as `head` does, has read enough: that is none.
    static var problem: OutputLost? {
        failure.withLock { $0 }.flatMap { $0 == EPIPE ? nil : OutputLost(number: $0) }
    }

    /// - Returns: nil, or the number of the error.
    static func write(_ text: String, to descriptor: Int32) -> Int32? {
        var text = text
        return text.withUTF8 { bytes in
            var written = 0
            while written < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written)
                if count >= 0 {
                    written += count
                    continue
                }
                switch errno {
                case EINTR: continue
                case EAGAIN:
                    // Somebody who shares the pipe made it non-blocking.
                    var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&entry, 1, -1)
                case let number: return number
                }
            }
            return nil
        }
    }
}

/// The verb did its work, and nobody can see what came of it.
struct OutputLost: Sendable, Hashable, CustomStringConvertible {
    var number: Int32

    var description: String { "standard output cannot be written: \(String(cString: strerror(number)))" }
}

/// In the place of Swift's own in the whole of this module: see `StandardOutput`.
func print(_ text: String, terminator: String = "\n") { StandardOutput.print(text, terminator: terminator) }
