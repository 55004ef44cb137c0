import Vitals

/// The events of one task for one reader, ready to send. Read it with one iterator.
///
/// It ends when the reader is too slow, the hub ends it, the stored events cannot be read, the reading task is cancelled, or the task is
/// deleted, which is told as `task:deleted`; not when the task is finished, since a client would only connect again.
public struct TaskEventStream: AsyncSequence, Sendable {
    public typealias Element = ServerSentEvent
    public typealias Failure = Never

    let hub: EventHub
    let subscription: TaskSubscription
    let handle: StreamHandle
    let prelude: [ServerSentEvent]

    public func makeAsyncIterator() -> Iterator {
        Iterator(stream: self, ready: prelude.reversed())
    }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let stream: TaskEventStream
        /// Latest last: it is taken from the end.
        fileprivate var ready: [ServerSentEvent]

        public mutating func next() async -> ServerSentEvent? {
            while true {
                if let event = ready.popLast() {
                    stream.hub.meters.countSent(event)
                    return event
                }
                guard !Task.isCancelled else { return nil }
                switch stream.subscription.position {
                case .replaying(let after):
                    do {
                        let page = try await stream.hub.reads.page(of: stream.subscription.taskID, after: after)
                        ready = page.reversed().map { stream.hub.rendered($0) }
                        stream.subscription.replayed(through: page.last?.sequence ?? after, isLast: page.count < StreamReads.pageSize)
                        stream.hub.replaySucceeded()
                    } catch {
                        if !(error is CancellationError) { stream.hub.replayFailed(stream.subscription.taskID, error) }
                        return nil
                    }
                case .live:
                    ready = await stream.subscription.take().reversed().map { stream.hub.rendered($0) }
                case .ended:
                    guard let word = stream.subscription.takeLastWord() else { return nil }
                    ready = [word]
                }
            }
        }
    }
}

/// Gives the place in the hub back when the last copy of a stream is gone, however its reader went away.
final class StreamHandle: Sendable {
    private let release: @Sendable () -> Void

    init(_ release: @escaping @Sendable () -> Void) {
        self.release = release
    }

    deinit {
        release()
    }
}
