import Hummingbird
import Logging
import NIOCore

/// What a request carries through its route.
struct HTTPContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// nil when the peer has none, as on a unix socket.
    let remoteAddress: SocketAddress?

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        remoteAddress = source.channel.remoteAddress
    }

    /// Whether the request comes from this machine.
    var isFromLoopback: Bool {
        switch remoteAddress {
        case .v4(let address): UInt32(bigEndian: address.address.sin_addr.s_addr) >> 24 == 127
        case .v6: ["::1", "::ffff:127.0.0.1"].contains(remoteAddress?.ipAddress ?? "")
        case .unixDomainSocket: true
        case nil: false
        }
    }
}
