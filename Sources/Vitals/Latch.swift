import Glibc
import Synchronization

/// One thread waits for another, by the monotonic clock. It opens once.
///
/// Not Dispatch's semaphore: on Linux that waits by the wall clock. When somebody sets that, it gives up at once, or long after.
public final class Latch: Sendable {
    private let isOpen = Atomic(false)
    /// The thread that waits reads from one, and the thread that opens writes to the other; -1 when the process could get none.
    private let (reader, writer): (Int32, Int32)

    public init() {
        var ends: [Int32] = [-1, -1]
        // pipe2 is not imported; a socket pair takes the flag.
        _ = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        if reader >= 0 { close(reader) }
        if writer >= 0 { close(writer) }
    }

    public func open() {
        isOpen.store(true, ordering: .releasing)
        var byte: UInt8 = 1
        if writer >= 0 { _ = send(writer, &byte, 1, Int32(MSG_NOSIGNAL)) }
    }

    /// Blocks the thread until it is open, at most for `limit` of real time.
    ///
    /// - Returns: whether it is.
    public func wait(within limit: Duration) -> Bool {
        let end = MonotonicInstant.now() + limit
        while !isOpen.load(ordering: .acquiring) {
            let left = end - .now()
            guard left > .zero else { return false }
            // Without descriptors it looks a hundred times a second.
            let pause = reader >= 0 ? left : min(left, .milliseconds(10))
            var waited = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
            _ = poll(&waited, 1, Int32(clamping: pause.nanoseconds / 1_000_000 + 1))
        }
        return true
    }
}
