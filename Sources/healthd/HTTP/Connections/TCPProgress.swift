import NIOCore

#if canImport(Glibc)
    import Glibc
#endif

/// What the kernel knows of a TCP socket: how far the client is with what was sent to it.
///
/// That a socket can be written to says little: between two such moments a slow reader takes hundreds of kilobytes.
struct TCPProgress: Sendable, Hashable {
    /// Bytes that the client's kernel has confirmed.
    var taken: UInt64
    /// Whether more lies ready, sent or not.
    var more: Bool
    /// Of a listener: connections that wait for accept().
    var waiting: Int

    /// `struct tcp_info` of linux/tcp.h up to tcpi_notsent_bytes, in words of four bytes; a kernel before 4.6 leaves the last ones zero.
    private typealias Words = InlineArray<38, UInt32>

    private init(_ words: Words) {
        // tcpi_unacked is the sixth word after eight fields of one byte: two words. Of a listener it is the length of its queue.
        waiting = Int(words[6])
        taken = UInt64(words[30]) | UInt64(words[31]) << 32
        more = words[6] > 0 || words[36] > 0
    }

    /// Looks on the channel's event loop; says nothing when the channel is closed or no TCP.
    static func look(at channel: any Channel, then tell: @escaping @Sendable (TCPProgress) -> Void) {
        guard let socket = channel as? any SocketOptionProvider else { return }
        let words: EventLoopFuture<Words> = socket.unsafeGetSocketOption(
            level: NIOBSDSocket.OptionLevel(rawValue: CInt(IPPROTO_TCP)), name: NIOBSDSocket.Option(rawValue: TCP_INFO))
        words.whenSuccess { tell(TCPProgress($0)) }
    }
}
