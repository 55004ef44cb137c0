import FoundationEssentials
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Vitals

/// Why a certificate was not trusted. The handshake that failed does not say: expired, or signed by nobody whom this host knows.
enum CertificateLook {
    static let limit = Duration.seconds(3)

    /// Shakes hands once more, believing everything, and reads the certificate; nothing is sent. Ends early when the task is cancelled.
    ///
    /// - Returns: nil when it cannot be read, or its dates are fine (the name may be wrong).
    static func reason(against address: String, within limit: Duration, now: WallTime = SystemTime().wallNow()) async -> String? {
        guard limit > .zero, let url = URL(string: address), url.scheme?.lowercased() == "https", let host = url.host() else { return nil }
        guard let certificate = try? await certificate(of: host, port: url.port ?? 443, within: limit) else { return nil }
        let seconds = now.microsecondsSince1970 / 1_000_000
        func date(_ seconds: Int) -> String { WallTime(microsecondsSince1970: Int64(seconds) * 1_000_000).rfc3339 }
        if certificate.notValidAfter < seconds { return "its certificate expired at \(date(certificate.notValidAfter)); it needs a new one" }
        if certificate.notValidBefore > seconds {
            return "its certificate is not valid before \(date(certificate.notValidBefore)); is the clock of this host right?"
        }
        return nil
    }

    private static func certificate(of host: String, port: Int, within limit: Duration) async throws -> NIOSSLCertificate? {
        let limit = TimeAmount.nanoseconds(limit.nanoseconds)
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        let context = try NIOSSLContext(configuration: configuration)
        // An IP address is not sent as the server's name (SNI).
        let name = (try? SocketAddress(ipAddress: host, port: port)) == nil ? host : nil
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let found = loop.makePromise(of: NIOSSLCertificate?.self)
        let connected = ClientBootstrap(group: loop)
            .connectTimeout(limit)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: name))
                    try channel.pipeline.syncOperations.addHandler(Reader(found))
                }
            }
            .connect(host: host, port: port)
        connected.whenFailure { found.fail($0) }
        let watchdog = loop.scheduleTask(in: limit) { found.succeed(nil) }
        defer {
            watchdog.cancel()
            connected.whenSuccess { $0.close(promise: nil) }
        }
        return try await withTaskCancellationHandler {
            try await found.futureResult.get()
        } onCancel: {
            found.succeed(nil)
        }
    }

    /// Takes the certificate when hands have been shaken; nil when they will not be.
    private final class Reader: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let found: EventLoopPromise<NIOSSLCertificate?>

        init(_ found: EventLoopPromise<NIOSSLCertificate?>) { self.found = found }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case .handshakeCompleted? = event as? TLSUserEvent {
                found.succeed(try? context.pipeline.syncOperations.nioSSL_peerCertificate())
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            found.fail(error)
            context.close(promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { found.succeed(nil) }
    }
}
