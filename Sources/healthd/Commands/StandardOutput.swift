import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// What a verb prints: written at once, at the pace of whoever reads it, and not by way of the C library's buffer, which loses it without a word.
enum StandardOutput {
    /// Of the first text that could not be written; nothing is printed after it.
    private static let failure = Mutex<DescriptorText.Failure?>(nil)

    static func print(_ text: String, terminator: String = "\n") {
        failure.withLock { failure in
            if failure == nil { failure = DescriptorText.write(text + terminator, to: STDOUT_FILENO) }
        }
    }

    /// Why what was printed did not arrive; nil when it did. A reader that closes the pipe, as `head` does, has read enough: that is no failure.
    static var problem: OutputLost? {
        guard case .errno(let number)? = failure.withLock({ $0 }), number != EPIPE else { return nil }
        return OutputLost(number: number)
    }
}

/// The verb did its work, and what it printed was lost.
struct OutputLost: Sendable, Hashable, CustomStringConvertible {
    var number: Int32

    var description: String { "standard output cannot be written: \(String(cString: strerror(number)))" }
}

/// In the place of Swift's own in the whole of this module: see `StandardOutput`.
func print(_ text: String, terminator: String = "\n") { StandardOutput.print(text, terminator: terminator) }
