#if canImport(Glibc)
    import Glibc
#endif

/// One datagram socket to the service manager that never blocks.
///
/// libsystemd's `sd_notify()` waits when the manager's queue is full; a daemon that is being watched must not wait for its watcher.
/// The protocol is a datagram of `KEY=VALUE` lines to `NOTIFY_SOCKET`, a stable interface (systemd.io, "Interface Portability and Stability").
final class NotifySocket: Sendable {
    enum Outcome: Sendable, Hashable {
        case sent
        /// The manager's queue is full: worth another try.
        case full
        case failed(errno: Int32)
    }

    private let descriptor: Int32
    private let address: [UInt8]

    /// Larger datagrams are dropped whole by systemd 252, without an answer.
    static let largestDatagram = 4_096

    /// Nil when the system has no socket to give; the caller then counts each send as failed.
    init?(_ destination: SystemdEnvironment.NotifyAddress) {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        let family = sa_family_t(AF_UNIX)
        let name: [UInt8] =
            switch destination {
            case .path(let path): Array(path.utf8) + [0]
            case .abstract(let name): [0] + Array(name.utf8)
            }
        address = withUnsafeBytes(of: family) { Array($0) } + name
    }

    deinit { close(descriptor) }

    func send(_ text: String) -> Outcome {
        precondition(text.utf8.count <= Self.largestDatagram, "the manager drops longer notices whole")
        var text = text
        let sent = text.withUTF8 { bytes in
            address.withUnsafeBytes { address in
                sendto(
                    descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT),
                    address.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(address.count))
            }
        }
        if sent >= 0 { return .sent }
        let number = errno
        return number == EAGAIN || number == EWOULDBLOCK || number == ENOBUFS ? .full : .failed(errno: number)
    }
}
