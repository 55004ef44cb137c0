import NIOCore

/// Stands where connections come in: lets in those there is room for, and rests when the kernel has none to give.
///
/// NIO's own back-off does not hold: after a failed accept() the listener stays registered, is found readable at once, and a core spins.
///
/// Used on the listener's event loop alone.
final class AcceptGate: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    /// Until accept() is tried again.
    static let rest = TimeAmount.milliseconds(250)
    /// Between looks at whether there is room: the answers waited for are short.
    static let look = TimeAmount.milliseconds(20)

    private let connections: Connections
    private var waiting: Scheduled<Void>?
    private var resting: Scheduled<Void>?

    init(_ connections: Connections) {
        self.connections = connections
    }

    /// Puts one before a listener, which may have begun to accept: those it let in are admitted when they are set up.
    static func install(on listener: any Channel, _ connections: Connections) async throws {
        try await listener.eventLoop.submit {
            let pipeline = listener.pipeline.syncOperations
            try pipeline.addHandler(AcceptGate(connections), position: .first)
            try pipeline.addHandler(AcceptErrors(), position: .after(pipeline.context(name: "AcceptHandler").handler))
            // One at a time, each after a look whether there is room.
            try listener.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            connections.accepts(on: listener)
        }.get()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = unwrapInboundIn(data)
        guard connections.admit(channel) else { return channel.close(promise: nil) }
        context.fireChannelRead(data)
    }

    /// Somebody is ready for the next connection. Those we do not take meanwhile wait in the kernel's queue.
    func read(context: ChannelHandlerContext) {
        guard waiting == nil, resting == nil else { return }
        if connections.mayAdmit { return context.read() }
        waiting = context.eventLoop.assumeIsolated().scheduleTask(in: Self.look) {
            self.waiting = nil
            self.read(context: context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let failure = (error as? IOError).flatMap({ AcceptFailure(errno: $0.errnoCode) }) else {
            return context.fireErrorCaught(error)
        }
        connections.couldNotAccept(failure)
        guard resting == nil else { return }
        // This takes the listener out of the poll, and the other puts it back.
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        resting = context.eventLoop.assumeIsolated().scheduleTask(in: Self.rest) {
            self.resting = nil
            try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        cancel()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        cancel()
    }

    private func cancel() {
        waiting?.cancel()
        resting?.cancel()
        (waiting, resting) = (nil, nil)
    }
}

/// Keeps what went wrong with one connection from ending the listener: NIO's sequence of connections ends at the first error it hears of, and the
/// connections that then come are dropped, for which NIO ends the process ("Deinited NIOAsyncWriter without calling finish()").
///
/// What is wrong with the listener itself closes it, which is heard without this.
private final class AcceptErrors: ChannelInboundHandler {
    typealias InboundIn = any Channel

    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
