import FoundationEssentials
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
    private let database: Database
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
        self.database = database
        self.bootID = bootID
        streamLimit = streams
        bufferLimit = buffer
        self.time = time
        self.logger = logger
    }

    // MARK: Publishing

    /// Hands a committed event to those who follow its task.
    public func publish(_ event: TaskEvent) {
        let followers = state.withLock { state in state.subscriptions[event.taskID].map { Array($0.values) } ?? [] }
        for follower in followers { deliver([event], to: follower) }
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
        // Registered before the rows are read: what is committed after the reading is published after this.
        let handle = try register(subscription)
        let task = try await namingMigrations {
            let rows = try await database.query("SELECT \(unescaped: AgentTask.columns) FROM agent_tasks WHERE id = \(id)", for: "stream.state")
            guard let row = rows.first else { throw RequestProblem.notFound(what: "task \(id)") }
            return try AgentTask(row)
        }
        var prelude: [ServerSentEvent] = []
        var after = 0
        if let lastEventID, !lastEventID.isEmpty {
            if let sequence = sequence(of: lastEventID), sequence <= task.eventSequence {
                after = sequence
                meters.resumes.add(for: .complete)
            } else {
                prelude.append(ServerSentEvent(event: "reset", data: #"{"reason":"this Last-Event-ID is not known here; all events follow"}"#))
                meters.resumes.add(for: .gap)
            }
        }
        prelude.append(ServerSentEvent(event: "task:state", data: String(decoding: try JSONEncoder().encode(task), as: UTF8.self)))
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
        ServerSentEvent(id: "\(bootID)-\(event.sequence)", event: event.kind.rawValue, data: event.json.text)
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

    // MARK: Rows

    static let pageSize = 500

    /// Stored events after `sequence`, at most a page.
    func page(of id: AgentTask.ID, after sequence: Int) async throws -> [TaskEvent] {
        try await database.query(
            """
            SELECT \(unescaped: TaskEvent.columns) FROM agent_task_events WHERE task_id = \(id) AND sequence > \(sequence)
            ORDER BY sequence LIMIT \(unescaped: "\(Self.pageSize)")
            """, for: "stream.replay"
        ).map { row in try TaskEvent(row) }
    }

    func replayFailed(_ id: AgentTask.ID, _ error: any Error) {
        logger.warning("event stream ended: stored events cannot be read", metadata: ["task": "\(id)", "reason": "\(error)"])
    }

    /// Looks each second for events that did not come through this process, until cancelled.
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
        let followers = state.withLock { state in state.subscriptions.values.flatMap(\.values) }
        var behind: [AgentTask.ID: Int] = [:]
        for follower in followers {
            guard let seen = follower.lastSeenWhileLive else { continue }
            behind[follower.taskID] = min(seen, behind[follower.taskID] ?? .max)
        }
        guard !behind.isEmpty else { return }
        let ids = Array(behind.keys)
        let rows = try await database.query(
            """
            SELECT e.task_id, e.sequence, e.kind, e.payload, e.created_at
            FROM unnest(\(ids)::uuid[], \(ids.map { behind[$0] ?? 0 })::bigint[]) AS followed (task_id, seen)
            JOIN agent_task_events e ON e.task_id = followed.task_id AND e.sequence > followed.seen
            ORDER BY e.task_id, e.sequence LIMIT 2000
            """, for: "stream.catch-up")
        for row in rows { publish(try TaskEvent(row)) }
    }

    public func statistics() -> EventHubStatistics {
        meters.statistics(clients: state.withLock { $0.count }, limit: streamLimit)
    }
}
