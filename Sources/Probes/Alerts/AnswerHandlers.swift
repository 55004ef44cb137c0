import NIOCore
import NIOHTTP1

/// The answer had this status, and could not be read to its end. The status decides all the same.
struct UnreadableAnswer: Error {
    var status: Int
}

/// Two handlers on a connection that is used for one request, one on each side of the parser. The one before it mends the ends of lines and notes
/// the status. The one behind it turns an error of the parser into one with that status.
enum AnswerHandlers {
    /// For `HTTPClient.Configuration.http1_1ConnectionDebugInitializer`, called before the request is sent.
    @Sendable static func install(on channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.submit {
            let pipeline = channel.pipeline.syncOperations
            let parser = try pipeline.handler(type: ByteToMessageHandler<HTTPResponseDecoder>.self)
            let mending = MendingHandler()
            try pipeline.addHandler(mending, position: .before(parser))
            try pipeline.addHandler(TellingHandler(mending), position: .after(parser))
        }
    }

    private final class MendingHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer

        private(set) var head = AnswerHead()

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard !head.isWhole else { return context.fireChannelRead(data) }
            let bytes = head.taking(unwrapInboundIn(data).readableBytesView)
            context.fireChannelRead(wrapInboundOut(context.channel.allocator.buffer(bytes: bytes)))
        }
    }

    private final class TellingHandler: ChannelInboundHandler {
        typealias InboundIn = HTTPClientResponsePart

        private let mending: MendingHandler

        init(_ mending: MendingHandler) { self.mending = mending }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if error is HTTPParserError, let status = mending.head.status {
                context.fireErrorCaught(UnreadableAnswer(status: status))
            } else {
                context.fireErrorCaught(error)
            }
        }
    }
}
