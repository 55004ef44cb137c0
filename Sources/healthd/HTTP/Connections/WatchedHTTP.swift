import HummingbirdCore
import Logging
import NIOCore
import NIOHTTPTypes

#if canImport(Glibc)
    import Glibc
#endif

extension HTTPServerBuilder {
    /// HTTP/1.1 whose connections are in a book: see `Connections`. The listener needs an `AcceptGate` too.
    static func watched(by connections: Connections) -> HTTPServerBuilder {
        HTTPServerBuilder { responder in
            WatchedHTTP(
                http: HTTP1Channel(
                    responder: responder, configuration: .init(additionalChannelHandlers: [RequestWatch(connections)])),
                connections: connections)
        }
    }
}

/// Hummingbird's HTTP/1.1, with somebody who notes what each connection does.
private struct WatchedHTTP: ServerChildChannel {
    /// Bytes the kernel keeps for a client beyond those on their way to it. Unbounded, one that asks again and again and reads nothing is answered
    /// until megabytes are full.
    private static let mostUnsent: SocketOptionValue = 128 << 10

    let http: HTTP1Channel
    let connections: Connections

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        guard connections.admit(channel) else {
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
        }
        // All that can fail comes before Hummingbird's part.
        return channel.eventLoop.makeCompletedFuture {
            try channel.syncOptions?.setOption(
                ChannelOptions.Types.SocketOption(level: SocketOptionLevel(IPPROTO_TCP), name: SocketOptionName(TCP_NOTSENT_LOWAT)),
                value: Self.mostUnsent)
            try channel.pipeline.syncOperations.addHandler(ByteWatch(connections))
        }.flatMap { http.setup(channel: channel, logger: logger) }.map { value in
            // When the server has ended meanwhile nobody takes it, and NIO ends the process if it goes before its connection is closed.
            channel.closeFuture.whenComplete { _ in withExtendedLifetime(value) {} }
            return value
        }
    }

    func handle(value: HTTP1Channel.Value, logger: Logger) async {
        await http.handle(value: value, logger: logger)
    }
}

/// Notes bytes, before anybody makes sense of them: half a header is no event anywhere else.
private final class ByteWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connections: Connections
    /// The other watch of this connection, which is behind the parser.
    private var requests: RequestWatch?
    private var header = HeaderBytes()

    init(_ connections: Connections) {
        self.connections = connections
    }

    func channelActive(context: ChannelHandlerContext) {
        let id = ObjectIdentifier(context.channel)
        connections.note { book, now in book.opened(id, now: now) }
        requests = try? context.pipeline.syncOperations.handler(type: RequestWatch.self)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let id = ObjectIdentifier(context.channel)
        let bytes = unwrapInboundIn(data).readableBytesView
        connections.note { book, now in book.received(id, now: now) }
        requests?.parsed = RequestWatch.Parsed()
        context.fireChannelRead(data)
        guard let requests else { return }
        // All of it has been parsed by now, and passed by the other watch.
        header.read(bytes, completed: requests.parsed.completed, body: requests.parsed.body?.readableBytesView)
        connections.note { book, now in book.isInHeader(id, header.isInHeader && !requests.isInBody, now: now) }
    }
}

/// Notes requests and answers.
private final class RequestWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// What came of the bytes that are being parsed.
    struct Parsed {
        var completed = false
        /// The last of a body.
        var body: ByteBuffer?
    }

    var parsed = Parsed()
    private(set) var isInBody = false
    private let connections: Connections

    init(_ connections: Connections) {
        self.connections = connections
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let id = ObjectIdentifier(context.channel)
        switch unwrapInboundIn(data) {
        case .head:
            (parsed, isInBody) = (Parsed(completed: true), true)
            connections.note { book, now in book.receivedHeader(id, now: now) }
        case .body(let bytes):
            parsed.body = bytes
        case .end:
            (parsed.completed, isInBody) = (true, false)
            connections.note { book, now in book.receivedAll(id, now: now) }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = unwrapOutboundIn(data) else { return context.write(data, promise: promise) }
        // Before the kernel has its last byte, to close the connection would cut the answer short.
        let id = ObjectIdentifier(context.channel)
        let written = promise ?? context.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenSuccess { [connections] in
            connections.note { book, now in book.answered(id, now: now) }
        }
        context.write(data, promise: written)
    }
}
