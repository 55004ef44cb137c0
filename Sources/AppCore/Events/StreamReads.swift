import Vitals

/// What event streams read of the database: stored events, and tasks as they are.
///
/// Followers come back together, when a server starts again or a network heals. So those of one task share a reading, and of many tasks a few
/// are read at once: the others wait here for as long as they may, and neither crowd the pool nor are turned away by it.
final class StreamReads: Sendable {
    /// A task as a stream begins with it.
    struct TaskState: Sendable {
        /// The task as JSON; long values are left out of it.
        var json: String
        var eventSequence: Int
    }

    private struct Place: Hashable {
        var task: AgentTask.ID
        var after: Int
    }

    private let database: Database
    private let gate = Gate(places: StreamReads.places)
    private let states: SharedReads<AgentTask.ID, TaskState>
    private let pages: SharedReads<Place, [TaskEvent]>

    /// Of the pool's connections, should all of these readings be long ones.
    static let places = 4
    static let pageSize = 100

    init(database: Database, time: any TimeSource) {
        self.database = database
        states = SharedReads(time: time)
        pages = SharedReads(time: time)
    }

    /// - Parameter sequence: a number that the reader has; a state older than that is read anew.
    /// - Throws: `RequestProblem.notFound`, or why the database cannot be asked.
    func state(of id: AgentTask.ID, notBefore sequence: Int = 0) async throws -> TaskState {
        let shared = try await states.value(for: id) { try await gate.pass { try await readState(id) } }
        guard shared.eventSequence < sequence else { return shared }
        return try await gate.pass { try await readState(id) }
    }

    private func readState(_ id: AgentTask.ID) async throws -> TaskState {
        try await namingMigrations {
            let rows = try await database.query(
                "\(unescaped: RowDocument.task.select(values: .brief)) WHERE t.id = \(id)", for: "stream.state")
            guard let row = rows.first else { throw RequestProblem.notFound(what: "task \(id)") }
            let task = try RowDocument.task.told(row)
            return TaskState(json: String(decoding: task.bytes, as: UTF8.self), eventSequence: try row.int("event_sequence"))
        }
    }

    /// Stored events after `sequence`, at most a page.
    func page(of id: AgentTask.ID, after sequence: Int) async throws -> [TaskEvent] {
        try await pages.value(for: Place(task: id, after: sequence)) {
            try await gate.pass {
                try await database.query(
                    """
                    SELECT \(unescaped: TaskEvent.columns) FROM agent_task_events WHERE task_id = \(id) AND sequence > \(sequence)
                    ORDER BY sequence LIMIT \(unescaped: "\(Self.pageSize)")
                    """, for: "stream.replay"
                ).map { row in try TaskEvent(row) }
            }
        }
    }

    // MARK: Catching up

    /// What a look at the followed tasks found.
    struct News: Sendable {
        var events: [TaskEvent] = []
        /// Tasks that do not exist any more.
        var deleted: Set<AgentTask.ID> = []
        /// Tasks with an event that this program cannot read, and why.
        var unreadable: [AgentTask.ID: any Error] = [:]
    }

    /// - Parameter seen: the last number that every follower of a task has; of the tasks that are not in it nothing is known here.
    func news(since seen: [AgentTask.ID: Int]) async throws -> News {
        let ids = Array(seen.keys)
        let rows = try await database.query(
            """
            SELECT followed.id AS task_id, t.id IS NULL AS deleted, e.sequence, e.kind, \(unescaped: TaskEvent.bounded("e.payload")) AS payload,
                e.created_at
            FROM unnest(\(ids)::uuid[], \(ids.map { seen[$0] ?? 0 })::bigint[]) AS followed (id, seen)
            LEFT JOIN agent_tasks t ON t.id = followed.id
            LEFT JOIN agent_task_events e ON e.task_id = t.id AND e.sequence > followed.seen
            WHERE t.id IS NULL OR e.sequence IS NOT NULL
            ORDER BY deleted DESC, followed.id, e.sequence LIMIT 2000
            """, for: "stream.catch-up")
        var news = News()
        for row in rows {
            let id = try AgentTask.ID(row, "task_id")
            if try row.bool("deleted") {
                news.deleted.insert(id)
                continue
            }
            do {
                news.events.append(try TaskEvent(row))
            } catch {
                news.unreadable[id] = error
            }
        }
        return news
    }
}
