import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
public import Vitals

/// An HTTP server that remembers each webhook it got, and answers as it was told.
public final class WebhookReceiver: Sendable {
    public struct Delivery: Sendable {
        public var at: MonotonicInstant
        public var headers: [String: String]
        public var body: String
        /// The status it was answered with.
        public var answered: Int

        public var json: JSON { (try? JSON(body)) ?? .null }
        /// `firing` or `resolved`.
        public var status: String { json["status"].string ?? "" }
        public var id: String { headers["webhook-id"] ?? "" }

        /// Whether the Standard Webhooks signature is right for the bytes received.
        ///
        /// - Parameter secret: as configured, with or without `whsec_`.
        public func isSigned(with secret: String) -> Bool {
            guard let timestamp = headers["webhook-timestamp"], let signature = headers["webhook-signature"],
                let key = Data(base64Encoded: secret.hasPrefix("whsec_") ? String(secret.dropFirst(6)) : secret)
            else { return false }
            let code = SHA256.authenticationCode(for: "\(id).\(timestamp).\(body)".utf8, key: key)
            return signature.split(separator: " ").contains(Substring("v1," + Data(code).base64EncodedString()))
        }
    }

    public let port: Int
    public var url: String { "http://127.0.0.1:\(port)/hook" }

    private struct State {
        var deliveries: [Delivery] = []
        var answer = 200
        var channel: (any Channel)?
        var connections: [ObjectIdentifier: any Channel] = [:]
    }

    private let state = Mutex(State())

    /// - Parameter port: not yet listening there: see `open()`.
    public init(port: Int) {
        self.port = port
    }

    /// What was received so far, refused ones too, in order.
    public var deliveries: [Delivery] { state.withLock { $0.deliveries } }

    /// Those answered with 200.
    public var accepted: [Delivery] { deliveries.filter { $0.answered == 200 } }

    /// From now on answers with this status.
    public func answer(with status: Int) {
        state.withLock { $0.answer = status }
    }

    /// Starts to listen.
    public func open() async throws {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                let id = ObjectIdentifier(channel)
                self.state.withLock { $0.connections[id] = channel }
                channel.closeFuture.whenComplete { _ in self.state.withLock { $0.connections[id] = nil } }
                return channel.pipeline.configureHTTPServerPipeline().flatMapThrowing {
                    try channel.pipeline.syncOperations.addHandler(Handler(receiver: self))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        state.withLock { $0.channel = channel }
    }

    /// Stops listening, and drops the connections there are: the receiver is down.
    public func close() async throws {
        let (channel, connections) = state.withLock { state in
            defer { state.channel = nil }
            return (state.channel, Array(state.connections.values))
        }
        try await channel?.close().get()
        for connection in connections { try? await connection.close().get() }
    }

    fileprivate func received(headers: HTTPHeaders, body: String) -> Int {
        var fields: [String: String] = [:]
        for (name, value) in headers { fields[name.lowercased()] = value }
        return state.withLock { state in
            state.deliveries.append(Delivery(at: .now(), headers: fields, body: body, answered: state.answer))
            return state.answer
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let receiver: WebhookReceiver
        private var headers = HTTPHeaders()
        private var body = ""

        init(receiver: WebhookReceiver) {
            self.receiver = receiver
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                headers = head.headers
                body = ""
            case .body(let buffer):
                body += String(buffer: buffer)
            case .end:
                let status = receiver.received(headers: headers, body: body)
                let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: ["content-length": "0"])
                context.write(wrapOutboundOut(.head(head)), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }
}
