public import Logging
import Synchronization
public import Vitals

/// Brings the events of tasks to those who follow them: first what is stored, then what happens, without a gap or a duplicate.
///
/// Events of this process arrive at once; those of other processes, and any that came out of order, within a second (`run`).
/// A reader that does not keep up loses its stream and resumes with `Last-Event-ID`; the worker never waits for anybody.
public final class EventHub: Sendable {
    /// No more streams may be open.
    public struct TooManyStreams: Error, Sendable, CustomStringConvertible {
        public let limit: Int
        public var description: String { "\(limit) event streams are open, which is the limit" }
    }

    private struct State {
        var subscriptions: [AgentTask.ID: [Int: TaskSubscription]] = [:]
        var count = 0
        var nextID = 0
    }

    private let state = Mutex(State())
    /// Stored events could not be read the last time. Many streams meet that at once.
    private let cannotReplay = Atomic(false)
    let reads: StreamReads
    private let bootID: String
    private let streamLimit: Int
    private let bufferLimit: Int
    private let time: any TimeSource
    private let logger: Logger
    let meters = EventMeters()

    /// Streams at once, where there is room for them.
    public static let usualStreams = 1_000

    /// - Parameters:
    ///   - bootID: tells this run of the program from all others; part of every event id.
    ///   - streams: how many may be open at once.
    ///   - buffer: events one reader may lag behind before it loses its stream.
    public init(
        database: Database, bootID: String, streams: Int = EventHub.usualStreams, buffer: Int = 256, time: any TimeSource = SystemTime(),
        logger: Logger = Logger(label: "events")
    ) {
        precondition(streams > 0 && buffer > 0, "a hub needs room for a stream and an event")
        reads = StreamReads(database: database, time: time)
        self.bootID = bootID
        streamLimit = streams
        bufferLimit = buffer
        self.time = time
        self.logger = logger
    }

    // MARK: Publishing

    /// Hands a committed event to those who follow its task.
    public func publish(_ event: TaskEvent) {
        for follower in followers(of: event.taskID) { deliver([event], to: follower) }
    }

    private func followers(of id: AgentTask.ID) -> [TaskSubscription] {
        state.withLock { state in state.subscriptions[id].map { Array($0.values) } ?? [] }
    }

    private func deliver(_ events: [TaskEvent], to follower: TaskSubscription) {
        let (backlog, dropped) = follower.offer(events)
        meters.sawBacklog(backlog)
        if dropped > 0 {
            meters.dropped.add(dropped)
            logger.info("event stream ended: its reader is slow", metadata: ["task": "\(follower.taskID)", "dropped": "\(dropped)"])
        }
    }

    // MARK: Following

    /// Follows a task: `task:state` with the task as it is, then its events from the one after `lastEventID` on, as they come.
    ///
    /// Without `lastEventID` from the first event. With one that is not of this run of the program, or not yet given, a `reset`
    /// event comes first and all is told anew. The stream is given back when its last copy is gone.
    ///
    /// - Throws: `RequestProblem.notFound`, `TooManyStreams`, or why the database cannot be asked.
    public func stream(of id: AgentTask.ID, lastEventID: String? = nil) async throws -> TaskEventStream {
        let subscription = TaskSubscription(taskID: id, limit: bufferLimit)
        // Registered before anything is read: what this process publishes from here on is not missed. A reading that is shared may have begun
        // before, and lack what was committed in between: `catchUp` brings that within a second.
        let handle = try register(subscription)
        let known = lastEventID.flatMap { $0.isEmpty ? nil : sequence(of: $0) }
        let task = try await reads.state(of: id, notBefore: known ?? 0)
        var prelude: [ServerSentEvent] = []
        var after = 0
        if let known, known <= task.eventSequence {
            after = known
            meters.resumes.add(for: .complete)
        } else if let lastEventID, !lastEventID.isEmpty {
            prelude.append(ServerSentEvent(event: "reset", data: #"{"reason":"this Last-Event-ID is not known here; all events follow"}"#))
            meters.resumes.add(for: .gap)
        }
        prelude.append(ServerSentEvent(event: "task:state", data: task.json))
        subscription.begin(after: after)
        return TaskEventStream(hub: self, subscription: subscription, handle: handle, prelude: prelude)
    }

    /// Nil unless this run of the program has given it.
    private func sequence(of eventID: String) -> Int? {
        guard let dash = eventID.lastIndex(of: "-"), eventID[..<dash] == bootID, let sequence = Int(eventID[eventID.index(after: dash)...]),
            sequence >= 0
        else { return nil }
        return sequence
    }

    func rendered(_ event: TaskEvent) -> ServerSentEvent {
        ServerSentEvent(id: "\(bootID)-\(event.sequence)", event: event.kind.rawValue, data: event.json)
    }

    private func register(_ subscription: TaskSubscription) throws -> StreamHandle {
        let id = state.withLock { state -> Int? in
            guard state.count < streamLimit else { return nil }
            state.nextID += 1
            state.count += 1
            state.subscriptions[subscription.taskID, default: [:]][state.nextID] = subscription
            return state.nextID
        }
        guard let id else { throw TooManyStreams(limit: streamLimit) }
        return StreamHandle { [weak self] in self?.remove(id, of: subscription.taskID) }
    }

    private func remove(_ id: Int, of task: AgentTask.ID) {
        state.withLock { state in
            guard state.subscriptions[task]?.removeValue(forKey: id) != nil else { return }
            state.count -= 1
            if state.subscriptions[task]?.isEmpty == true { state.subscriptions[task] = nil }
        }
    }

    /// Ends every stream, so that a server can stop. Clients resume elsewhere or later.
    public func endStreams() {
        let all = state.withLock { state in state.subscriptions.values.flatMap(\.values) }
        for subscription in all { subscription.end() }
    }

    // MARK: Looking

    func replaySucceeded() {
        if cannotReplay.load(ordering: .relaxed) { cannotReplay.store(false, ordering: .relaxed) }
    }

    /// Tells of the first; then of none until one has succeeded.
    func replayFailed(_ id: AgentTask.ID, _ error: any Error) {
        guard !cannotReplay.exchange(true, ordering: .relaxed) else { return }
        logger.warning("event streams end: stored events cannot be read", metadata: ["task": "\(id)", "reason": "\(error)"])
    }

    /// Looks each second for events that did not come through this process, and whether the tasks still exist, until cancelled.
    public func run() async {
        var failing = false
        while !Task.isCancelled {
            do { try await time.sleep(for: .seconds(1)) } catch { return }
            do {
                try await catchUp()
                failing = false
            } catch {
                if !failing { logger.warning("followed tasks cannot be looked at", metadata: ["reason": "\(error)"]) }
                failing = true
            }
        }
    }

    private func catchUp() async throws {
        let open = state.withLock { state in state.subscriptions.values.flatMap(\.values) }
        var seen: [AgentTask.ID: Int] = [:]
        for follower in open {
            guard let last = follower.lastSeenWhileLive else { continue }
            seen[follower.taskID] = min(last, seen[follower.taskID] ?? .max)
        }
        guard !seen.isEmpty else { return }
        let news = try await reads.news(since: seen)
        for (id, events) in Dictionary(grouping: news.events, by: \.taskID) {
            // Another process may write more at once than is kept for a reader. Stored rows come in pages, as fast as each reader takes them.
            let isMuch = events.count > bufferLimit / 2
            for follower in followers(of: id) {
                if isMuch { follower.replayAgain() } else { deliver(events, to: follower) }
            }
        }
        for id in news.deleted { end(streamsOf: id, saying: Self.deleted(id)) }
        // One event that cannot be read is no reason to keep the others' from them.
        for (id, error) in news.unreadable {
            logger.warning("event streams end: a stored event cannot be read", metadata: ["task": "\(id)", "reason": "\(error)"])
            end(streamsOf: id)
        }
    }

    private func end(streamsOf id: AgentTask.ID, saying lastWord: ServerSentEvent? = nil) {
        for follower in followers(of: id) { follower.end(saying: lastWord) }
    }

    private static func deleted(_ id: AgentTask.ID) -> ServerSentEvent {
        let data: JSONValue = ["taskId": .string(id.rawValue), "reason": "the task does not exist any more; it is deleted with its workspace"]
        return ServerSentEvent(event: "task:deleted", data: data.text)
    }

    public func statistics() -> EventHubStatistics {
        meters.statistics(clients: state.withLock { $0.count }, limit: streamLimit)
    }
}
