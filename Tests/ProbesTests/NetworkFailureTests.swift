import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import TestServers
import Testing
import Vitals

@testable import Probes

/// A delivery that came to nothing says what was tried, on whom, and what to do, and never in the words of a library.
@Suite(.timeLimit(.minutes(1))) struct NetworkFailureTests {
    private static let internalNames = ["NIO", "HTTPClient", "IOError", "errno", "ChannelError", "Error(", "SSL routines", "BoringSSL", "OPENSSL", "canary"]

    private func answer(of url: String) async throws -> DeliveryAnswer {
        let sender = WebhookSender(version: "0.1.0", time: SystemTime())
        let answer = await sender.send([], id: "a", to: try Receiver(name: "oncall", url: url))
        try await sender.shutdown()
        return answer
    }

    private func expect(_ url: String, says words: String...) async throws {
        let answer = try await answer(of: url)
        guard case .tryAgain(.unreachable, let reason, nil) = answer else {
            Issue.record("\(url): \(answer)")
            return
        }
        #expect(reason.hasPrefix("no delivery to \(try Receiver(name: "oncall", url: url).host): "), "\(reason)")
        for word in words { #expect(reason.contains(word), "no \(word) in: \(reason)") }
        for name in Self.internalNames { #expect(!reason.contains(name), "\(name) in: \(reason)") }
    }

    @Test func `who is not there, or no receiver, is said in words`() async throws {
        try await expect("http://no-such-host.invalid/canary", says: "the name \"no-such-host.invalid\" is not known", "DNS")
        try await expect("https://no-such-host.invalid/canary", says: "the name \"no-such-host.invalid\" is not known")
        try await expect("http://127.0.0.1:\(try unusedPort())/canary", says: "connection refused", "does it run")
        try await expect("http://localhost:\(try unusedPort())/canary", says: "connection refused")
        let resetting = try FakeServer(.resets)
        try await expect("http://127.0.0.1:\(resetting.port)/canary", says: "connection reset by peer", "log")
        let closing = try FakeServer(answering: "")
        try await expect("http://127.0.0.1:\(closing.port)/canary", says: "closed the connection without an answer")
        let mail = try FakeServer(answering: "220 smtp.example.org ESMTP\r\n")
        try await expect("http://127.0.0.1:\(mail.port)/canary", says: "does not speak HTTP")
        try await expect("https://127.0.0.1:\(mail.port)/canary", says: "does not speak TLS on that port", "http?")
        let web = try FakeServer(answering: "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        try await expect("https://localhost:\(web.port)/canary", says: "does not speak TLS on that port", "http?")
        try await expect("https://localhost:\(closing.port)/canary", says: "TLS")
    }

    @Test func `a certificate that is not trusted is told from one that has expired`() async throws {
        let certificates = try await Certificates.make()
        let unknown = try await TLSServer.start(certificates.unknown)
        try await expect("https://localhost:\(unknown.port)/canary", says: "certificate is not trusted", "no authority")
        try await expect("https://127.0.0.1:\(unknown.port)/canary", says: "certificate is not trusted")
        // Spoken to in the clear it may close, or answer with a TLS alert.
        try await expect("http://localhost:\(unknown.port)/canary", says: "https")
        try await unknown.stop()
        let expired = try await TLSServer.start(certificates.expired)
        try await expect("https://localhost:\(expired.port)/canary", says: "certificate expired at 20", "needs a new one")
        try await expired.stop()
    }

    @Test func `a look at a certificate ends with its task, and with the time that is left`() async throws {
        let silent = try FakeServer(.silent)
        let address = "https://127.0.0.1:\(silent.port)/canary"
        try await withThrowingTaskGroup(of: String?.self) { group in
            group.addTask { await CertificateLook.reason(against: address, within: .seconds(60)) }
            try await until("it looks") { silent.connections == 1 }
            group.cancelAll()
            let ended = try await group.next()
            #expect(ended == .some(nil))
        }
        for left in [Duration.milliseconds(10), .zero, .seconds(-1)] {
            #expect(await CertificateLook.reason(against: address, within: left) == nil)
        }
    }

    @Test(arguments: [
        (HTTPClientError.connectTimeout, NetworkFailure.Kind.timeout, "no connection in time"), (HTTPClientError.deadlineExceeded, .timeout, "no answer in time"),
        (HTTPClientError.readTimeout, .timeout, "no answer in time"), (HTTPClientError.tlsHandshakeTimeout, .timeout, "TLS handshake"),
        (HTTPClientError.remoteConnectionClosed, .broken, "closed the connection"), (HTTPClientError.uncleanShutdown, .broken, "before the answer was whole"),
        (HTTPClientError.cancelled, .cancelled, "given up"), (HTTPClientError.invalidHeaderFieldValues(["a"]), .other, "the HTTP client refuses it: "),
        (ChannelError.connectTimeout(.seconds(5)), .timeout, "no connection within 5 s"), (ChannelError.eof, .broken, "closed"),
        (ChannelError.ioOnClosedChannel, .broken, "closed"), (IOError(errnoCode: 113, reason: "connect"), .unreachable, "no route to host; see the routes"),
        (IOError(errnoCode: 110, reason: "connect"), .timeout, "connection timed out"), (IOError(errnoCode: 32, reason: "write"), .broken, "broken pipe"),
        (IOError(errnoCode: 24, reason: "socket"), .other, "too many open files in this process; see LimitNOFILE="),
        (NIOSSLExtraError.failedToValidateHostname, .untrusted, "certificate is for another name"), (NIOSSLError.uncleanShutdown, .broken, "TLS connection was closed"),
        (NIOSSLError.handshakeFailed(.sslError([.eofDuringHandshake])), .broken, "during the TLS handshake"),
        (HTTPParserError.invalidConstant, .noHTTP, "does not speak HTTP"), (CancellationError(), .cancelled, "given up"),
    ] as [(any Error, NetworkFailure.Kind, String)])
    func `every error of the libraries has words`(error: any Error, kind: NetworkFailure.Kind, words: String) {
        let failure = NetworkFailure(error)
        #expect(failure.kind == kind && failure.words.contains(words), "\(failure)")
        for name in Self.internalNames { #expect(!failure.words.contains(name), "\(failure)") }
    }

    /// With TLS 1.3 the client has connected before it hears of that.
    @Test(arguments: [TLSVersion.tlsv12, .tlsv13])
    func `a server that wants a certificate of ours says so`(version: TLSVersion) async throws {
        let server = try await TLSServer.start(try await Certificates.make().unknown, wantsCertificates: true)
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        configuration.minimumTLSVersion = version
        configuration.maximumTLSVersion = version
        let context = try NIOSSLContext(configuration: configuration)
        let broken = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: (any Error).self)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([NIOSSLClientHandler(context: context, serverHostname: nil), FirstError(of: broken)])
                }
            }
            .connect(host: "127.0.0.1", port: server.port).get()
        channel.closeFuture.whenComplete { _ in broken.succeed(ChannelError.eof) }
        let failure = NetworkFailure(try await broken.futureResult.get())
        #expect(failure.words.contains(version == .tlsv13 ? "it wants a certificate of ours" : "TLS handshake"), "\(failure)")
        for name in Self.internalNames { #expect(!failure.words.contains(name), "\(failure)") }
        try await server.stop()
    }

    @Test func `an error that nobody knows has words, too`() {
        struct Unforeseen: Error {}
        #expect(NetworkFailure(Unforeseen()) == NetworkFailure(.other, "the exchange broke off"))
    }
}

/// A key, and two certificates for `localhost` that nobody has signed.
private struct Certificates {
    typealias Pair = (certificate: NIOSSLCertificate, key: NIOSSLPrivateKey)

    var unknown: Pair
    var expired: Pair

    static func make() async throws -> Certificates {
        let folder = try await run("mktemp", ["-d"])
        let script = """
            cd "$0" && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -keyout key -out unknown
            openssl req -new -key key -subj /CN=localhost -out request && openssl x509 -req -in request -signkey key -days -1 -out expired
            """
        _ = try await run("sh", ["-c", script, folder])
        let key = try NIOSSLPrivateKey(file: "\(folder)/key", format: .pem)
        func certificate(_ name: String) throws -> NIOSSLCertificate { try NIOSSLCertificate.fromPEMFile("\(folder)/\(name)")[0] }
        let made = Certificates(unknown: (try certificate("unknown"), key), expired: (try certificate("expired"), key))
        _ = try await run("rm", ["-r", folder])
        return made
    }
}

/// Keeps the first error that comes along a channel.
private final class FirstError: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let promise: EventLoopPromise<any Error>

    init(of promise: EventLoopPromise<any Error>) { self.promise = promise }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { promise.succeed(error) }
}

/// Speaks TLS with this certificate, and nothing else.
private final class TLSServer: Sendable {
    let port: Int
    private let channel: any Channel

    private init(_ channel: any Channel) {
        self.channel = channel
        port = channel.localAddress?.port ?? 0
    }

    static func start(_ pair: Certificates.Pair, wantsCertificates: Bool = false) async throws -> TLSServer {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: [.certificate(pair.certificate)], privateKey: .privateKey(pair.key))
        if wantsCertificates {
            configuration.certificateVerification = .noHostnameVerification
            configuration.trustRoots = .certificates([pair.certificate])
        }
        let context = try NIOSSLContext(configuration: configuration)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return TLSServer(channel)
    }

    func stop() async throws { try await channel.close() }
}
