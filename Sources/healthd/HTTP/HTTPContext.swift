import Hummingbird
import Logging
import NIOCore

/// What a request carries through its route.
struct HTTPContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// nil when the peer has none.
    let remoteAddress: SocketAddress?
    /// For closing a connection whose client does not take what it asked for.
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        remoteAddress = source.channel.remoteAddress
        channel = source.channel
    }

    var isFromLoopback: Bool { Self.isLoopback(remoteAddress) }

    /// Whether a peer is on this machine. An address without an IP is that of a unix socket; a peer without one is nobody known.
    static func isLoopback(_ address: SocketAddress?) -> Bool {
        guard let address else { return false }
        guard let text = address.ipAddress else { return true }
        return text == "::1" || text.hasPrefix("127.") || text.hasPrefix("::ffff:127.")
    }
}
