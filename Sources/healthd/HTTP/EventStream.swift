import AppCore
import HTTPTypes
import Hummingbird
import NIOCore
import Vitals

/// Server-sent events to one client: bytes at once, a sign of life when nothing happens, an end when the client has gone.
///
/// Source: WHATWG HTML, section 9.2. The worker's time is never spent here: a client that reads too slowly loses its stream in the hub,
/// and one that does not read at all loses its connection after two signs of life it did not take.
enum EventStream {
    /// "Every 15 seconds or so" keeps proxies from closing a silent stream (WHATWG HTML, 9.2.7).
    static let heartbeat = Duration.seconds(15)
    static let retry = Duration.seconds(2)
    /// When no more streams may be open: an invitation to come back soon would keep the limit reached.
    static let retryWhenFull = Duration.seconds(30)
    /// When the database cannot be asked: it may be all those who follow anything.
    static let retryWhenRefused = Duration.seconds(5)

    static let headers: HTTPFields = [
        .contentType: "text/event-stream",
        .cacheControl: "no-store, no-transform",
        .xAccelBuffering: "no",
        .xContentTypeOptions: "nosniff",
    ]

    static func response<Events: AsyncSequence & Sendable>(
        to request: Request, _ context: HTTPContext, time: any TimeSource, events: Events
    ) -> Response where Events.Element == ServerSentEvent, Events.Failure == Never {
        let channel = context.channel
        let body = ResponseBody { writer in
            let handover = Handover()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await event in events {
                        guard await handover.put(event.rendered()) else { break }
                    }
                    handover.close()
                }
                group.addTask {
                    await keepAlive(handover, time: time) { channel.close(promise: nil) }
                }
                defer { group.cancelAll() }
                try await request.body.consumeWithInboundCloseHandler { _ in
                    try await writer.write(ByteBuffer(bytes: opening(retry: spread(retry))))
                    while let bytes = await handover.take() {
                        try await writer.write(ByteBuffer(bytes: bytes))
                    }
                    try await writer.write(ByteBuffer(bytes: opening(retry: spread(.seconds(1)))))
                } onInboundClosed: {
                    handover.close()
                }
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: headers, body: body)
    }

    /// When a client is to come back, one of many that lost their streams or were refused in the same instant: after `wait` at the earliest, and at the
    /// latest as long again, or a second, whichever is more, after that. Drawn to the millisecond, which is what spreads them.
    static func spread(_ wait: Duration) -> Duration {
        let milliseconds = wait.nanoseconds / 1_000_000
        return .milliseconds(milliseconds + Int64.random(in: 0...max(1_000, milliseconds)))
    }

    /// `retry:` and a comment: what proxies and clients see before anything has happened.
    private static func opening(retry: Duration) -> [UInt8] {
        Array("retry: \(retry.nanoseconds / 1_000_000)\n".utf8) + ServerSentEvent.comment("healthd")
    }

    /// Beats until cancelled; hangs up when the client has taken nothing over two beats while something lay ready for it.
    static func keepAlive(_ handover: Handover, time: any TimeSource, hangUp: @Sendable () -> Void) async {
        var taken = handover.taken
        var missed = 0
        while (try? await time.sleep(for: heartbeat)) != nil {
            // A busy stream has no room for a beat, and needs none.
            let moves = handover.taken != taken
            taken = handover.taken
            missed = handover.offer(ServerSentEvent.comment("alive")) || moves ? 0 : missed + 1
            if missed == 2 { return hangUp() }
        }
    }

    /// The answer when a stream cannot be had.
    ///
    /// An `EventSource` never comes back after anything but 200. So what will pass is told in an event, with a time to come back; what will
    /// not (no such task) is thrown, and ends it for good.
    static func refusal(of error: any Error) throws -> Response {
        var answer: ErrorAnswer
        if let full = error as? EventHub.TooManyStreams {
            answer = ErrorAnswer(.serviceUnavailable, "too_many_streams", full.description, retryAfter: retryWhenFull)
        } else {
            answer = ErrorAnswer(error)
        }
        guard answer.status.code >= 500, !answer.isUnexpected else { throw error }
        let wait = spread(max(answer.retryAfter ?? .zero, retryWhenRefused))
        answer.retryAfter = wait
        let event = ServerSentEvent(event: "busy", data: String(decoding: answer.body, as: UTF8.self), retry: wait)
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: event.rendered())))
    }
}
