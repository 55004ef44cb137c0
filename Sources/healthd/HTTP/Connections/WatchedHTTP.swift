import HummingbirdCore
import Logging
import NIOCore
import NIOHTTPTypes

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
    let http: HTTP1Channel
    let connections: Connections

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        guard connections.admit(channel) else {
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
        }
        return channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(ByteWatch(connections))
        }.flatMap { http.setup(channel: channel, logger: logger) }
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

    init(_ connections: Connections) {
        self.connections = connections
    }

    func channelActive(context: ChannelHandlerContext) {
        let id = ObjectIdentifier(context.channel)
        connections.note { book, now in book.opened(id, now: now) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let id = ObjectIdentifier(context.channel)
        connections.note { book, now in book.received(id, now: now) }
        context.fireChannelRead(data)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let id = ObjectIdentifier(context.channel)
        let takes = context.channel.isWritable
        connections.note { book, now in book.changed(id, takes: takes, now: now) }
        context.fireChannelWritabilityChanged()
    }
}

/// Notes requests and answers.
private final class RequestWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let connections: Connections

    init(_ connections: Connections) {
        self.connections = connections
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let id = ObjectIdentifier(context.channel)
        switch unwrapInboundIn(data) {
        case .head: connections.note { book, now in book.receivedHeader(id, now: now) }
        case .end: connections.note { book, now in book.receivedAll(id, now: now) }
        // Its bytes have been noted.
        case .body: break
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) {
            let id = ObjectIdentifier(context.channel)
            connections.note { book, now in book.answered(id, now: now) }
        }
        context.write(data, promise: promise)
    }
}
