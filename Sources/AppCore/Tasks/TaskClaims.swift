import Vitals

// What a worker does with rows. Every write after the claim compares the attempt: a worker whose lease ended, and whose task
// another has claimed since, changes nothing any more.

extension AgentTaskStore {
    /// The task is no longer this worker's.
    struct LeaseLost: Error {}

    /// A claimed task, and how long it had waited.
    struct Claim: Sendable {
        var task: AgentTask
        /// Its attempts so far that ended badly: the worker was lost, or what the task needs failed.
        var failures: Int
        var waited: Duration
    }

    /// Why a task goes back to the queue.
    enum Return: Sendable {
        /// Its worker stops: nothing has failed.
        case unfinished
        /// There was no connection for it: nothing of it has failed; to be taken again after `delay`.
        case noConnection(delay: Duration)
        /// What it needs failed; to be taken again after `delay`.
        case failed(delay: Duration)
    }

    /// How often a task may be begun, and how many events it may have: the columns count no further. Nobody comes near; a row that does
    /// is failed, since counting on in it would fail every claim.
    static let attemptLimit = 1_000_000_000
    static let eventLimit = 1_000_000_000_000_000
    /// What is left to a task for its last run.
    private static let eventReserve = 1_000_000_000

    /// Claims up to `limit` tasks, oldest first: queued ones, and running ones whose worker's lease has ended, which is a failure of theirs.
    ///
    /// Of types that this program knows: another version may run beside it, and the rest is for that one. Never what this process still
    /// runs: when its lease ended because the database was away, `renew` takes it up again, unless another worker was faster.
    /// One workspace has at most `perWorkspace` running tasks, counted over all workers; workers that claim at the same moment
    /// may overshoot it, since neither waits for the other.
    func claim(limit: Int, perWorkspace: Int, worker: String, lease leaseTime: Duration, maxAttempts: Int) async throws -> [Claim] {
        let rows = try await namingMigrations {
            try await database.query(
                """
                WITH busy AS (
                    SELECT workspace_id, count(*) AS tasks FROM agent_tasks
                    WHERE state = 'running' AND lease_ends_at >= now() GROUP BY workspace_id),
                oldest AS MATERIALIZED (
                    SELECT t.id, t.workspace_id, t.queued_at FROM agent_tasks t
                    WHERE t.state IN ('queued', 'running') AND t.queued_at <= now()
                        AND (t.state = 'queued' OR (t.lease_ends_at < now() AND t.failures + 1 < \(maxAttempts)))
                        AND t.type = ANY(\(types)::text[]) AND t.id <> ALL(\(roster.held.map(\.id))::uuid[])
                        AND t.attempt < \(Self.attemptLimit) AND t.event_sequence < \(Self.eventLimit - Self.eventReserve)
                        AND NOT EXISTS (SELECT FROM busy WHERE busy.workspace_id = t.workspace_id AND busy.tasks >= \(perWorkspace))
                    ORDER BY t.queued_at LIMIT 200 FOR UPDATE OF t SKIP LOCKED),
                ranked AS (
                    SELECT o.id, o.queued_at, coalesce(busy.tasks, 0)
                        + row_number() OVER (PARTITION BY o.workspace_id ORDER BY o.queued_at, o.id) AS place
                    FROM oldest o LEFT JOIN busy ON busy.workspace_id = o.workspace_id),
                chosen AS (SELECT id AS chosen_id FROM ranked WHERE place <= \(perWorkspace) ORDER BY queued_at LIMIT \(limit)),
                claimed AS (
                    UPDATE agent_tasks SET state = 'running', attempt = attempt + 1, worker = \(worker),
                        failures = failures + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
                        lease_ends_at = now() + make_interval(secs => \(leaseTime.seconds)), started_at = coalesce(started_at, now()),
                        current_step = NULL, progress = 0, event_sequence = event_sequence + 1, updated_at = now()
                    FROM chosen WHERE id = chosen_id RETURNING \(unescaped: AgentTask.columns), failures),
                noted AS (
                    INSERT INTO agent_task_events (task_id, sequence, kind, payload)
                    SELECT id, event_sequence, 'task:started', jsonb_build_object('attempt', attempt, 'type', type) FROM claimed)
                SELECT \(unescaped: AgentTask.columns), failures, extract(epoch FROM now() - queued_at)::float8 AS waited
                FROM claimed ORDER BY queued_at
                """, for: "tasks.claim")
        }
        var claims: [Claim] = []
        for row in rows {
            do {
                claims.append(try claimed(row))
            } catch {
                await failUnreadable(row, error)
            }
        }
        return claims
    }

    private func claimed(_ row: Row) throws(PostgresError) -> Claim {
        let task = try AgentTask(row)
        let claim = Claim(task: task, failures: try row.int("failures"), waited: .seconds(try row.double("waited")))
        let event = TaskEvent(
            taskID: task.id, sequence: task.eventSequence, kind: .taskStarted,
            payload: ["attempt": .integer(task.attempt), "type": .string(task.type)], at: task.updatedAt)
        hub.publish(event)
        return claim
    }

    /// A claimed task whose row cannot be read fails by itself. Left as it is, it would come back with every claim.
    private func failUnreadable(_ row: Row, _ error: any Error) async {
        unreadable.tell(of: row, in: "agent_tasks", error, "the task has failed")
        do {
            let workspace = try Workspace.ID(row, "workspace_id")
            try await fail(AgentTask.ID(row, "id"), attempt: row.int("attempt"), of: workspace, reason: "its row cannot be read: \(error)")
        } catch {
            // Its lease ends by itself; then it is claimed, and fails, again.
            return
        }
    }

    /// Notes an event of a running task.
    ///
    /// - Returns: what somebody has asked of the task meanwhile.
    /// - Throws: `LeaseLost`.
    func note(_ kind: TaskEvent.Kind, _ payload: JSONValue, step: String, progress: Double, of task: AgentTask) async throws -> TaskAction? {
        let row = try await eventRow(
            """
            WITH held AS (
                UPDATE agent_tasks SET event_sequence = event_sequence + 1, current_step = \(step), progress = \(progress), updated_at = now()
                WHERE id = \(task.id) AND attempt = \(task.attempt) AND state = 'running' RETURNING id, event_sequence, requested)
            INSERT INTO agent_task_events (task_id, sequence, kind, payload)
            SELECT id, event_sequence, \(kind.rawValue), \(payload)::jsonb FROM held
            RETURNING \(unescaped: TaskEvent.columns), (SELECT requested FROM held) AS requested
            """, for: "tasks.step")
        return try row.optionalString("requested").flatMap { TaskAction(rawValue: $0) }
    }

    /// Completes the task: its result, a snapshot of the workspace and a line of the audit log, or none of them.
    func complete(_ task: AgentTask, result: JSONValue, summary: String) async throws {
        defer { onWrite(task.workspaceID) }
        _ = try await eventRow(
            """
            WITH held AS (
                UPDATE agent_tasks SET state = 'completed', result = \(result), progress = 1, current_step = NULL, requested = NULL,
                    finished_at = now(), lease_ends_at = NULL, event_sequence = event_sequence + 1, updated_at = now()
                WHERE id = \(task.id) AND attempt = \(task.attempt) AND state = 'running' RETURNING id, workspace_id, type, attempt, result, event_sequence),
            kept AS (
                INSERT INTO workspace_data_snapshots (workspace_id, snapshot_type, payload)
                SELECT workspace_id, type, result FROM held RETURNING id),
            audited AS (
                INSERT INTO ai_audit_logs (workspace_id, task_id, action, summary, details)
                SELECT held.workspace_id, held.id, held.type || '.completed', \(summary),
                    jsonb_build_object('attempt', held.attempt, 'snapshotId', kept.id) FROM held, kept)
            INSERT INTO agent_task_events (task_id, sequence, kind, payload)
            SELECT held.id, event_sequence, 'task:completed', jsonb_build_object('summary', \(summary)::text, 'snapshotId', kept.id, 'result', result)
            FROM held, kept RETURNING \(unescaped: TaskEvent.columns)
            """, for: "tasks.complete")
    }

    func fail(_ task: AgentTask, reason: String) async throws {
        try await fail(task.id, attempt: task.attempt, of: task.workspaceID, reason: reason)
    }

    private func fail(_ id: AgentTask.ID, attempt: Int, of workspace: Workspace.ID, reason: String) async throws {
        defer { onWrite(workspace) }
        _ = try await eventRow(
            """
            WITH held AS (
                UPDATE agent_tasks SET state = 'failed', error = \(reason), requested = NULL, finished_at = now(), lease_ends_at = NULL,
                    event_sequence = event_sequence + 1, updated_at = now()
                WHERE id = \(id) AND attempt = \(attempt) AND state = 'running' RETURNING id, workspace_id, type, attempt, error, event_sequence),
            audited AS (
                INSERT INTO ai_audit_logs (workspace_id, task_id, action, summary)
                SELECT workspace_id, id, type || '.failed', error FROM held)
            INSERT INTO agent_task_events (task_id, sequence, kind, payload)
            SELECT id, event_sequence, 'task:failed', jsonb_build_object('error', error, 'attempt', attempt)
            FROM held RETURNING \(unescaped: TaskEvent.columns)
            """, for: "tasks.fail")
    }

    /// Gives the task back: paused or cancelled when somebody asked that of it, else to the queue.
    ///
    /// What was asked is read by the write itself: people change their minds until then.
    ///
    /// - Returns: what was asked and is done now; nil when the task is queued.
    /// - Throws: `LeaseLost`.
    @discardableResult
    func giveBack(_ task: AgentTask, _ why: Return) async throws -> TaskAction? {
        defer { onWrite(task.workspaceID) }
        let (delay, failures) =
            switch why {
            case .unfinished: (Duration.zero, 0)
            case .noConnection(let delay): (delay, 0)
            case .failed(let delay): (delay, 1)
            }
        let rows = try await database.query(
            """
            WITH held AS (
                SELECT id AS held_id, requested AS asked FROM agent_tasks
                WHERE id = \(task.id) AND attempt = \(task.attempt) AND state = 'running' FOR UPDATE),
            given AS (
                UPDATE agent_tasks SET requested = NULL, lease_ends_at = NULL, updated_at = now(), failures = failures + \(failures),
                    state = CASE asked WHEN 'cancel' THEN 'cancelled' WHEN 'pause' THEN 'paused' ELSE 'queued' END,
                    finished_at = CASE asked WHEN 'cancel' THEN now() END,
                    queued_at = CASE WHEN asked IS NULL THEN now() + make_interval(secs => \(delay.seconds)) ELSE queued_at END,
                    current_step = CASE WHEN asked IS NULL THEN NULL ELSE current_step END,
                    progress = CASE WHEN asked IS NULL THEN 0 ELSE progress END,
                    event_sequence = event_sequence + CASE WHEN asked IS NULL THEN 0 ELSE 1 END
                FROM held WHERE id = held_id RETURNING id, state, event_sequence, asked),
            told AS (
                INSERT INTO agent_task_events (task_id, sequence, kind)
                SELECT id, event_sequence, 'task:' || state FROM given WHERE asked IS NOT NULL RETURNING \(unescaped: TaskEvent.columns))
            SELECT asked, \(unescaped: TaskEvent.columns) FROM given LEFT JOIN told ON told.task_id = given.id
            """, for: "tasks.give-back")
        guard let row = rows.first else { throw LeaseLost() }
        guard let asked = try row.optionalString("asked").flatMap({ TaskAction(rawValue: $0) }) else { return nil }
        hub.publish(try TaskEvent(row))
        return asked
    }

    /// Holds on to running tasks for another lease, also when the last one has ended and nobody has taken them since.
    ///
    /// - Returns: those still held, with what was asked of each. One that is not among them is lost.
    func renew(_ tasks: [HeldTask], worker: String, lease leaseTime: Duration) async throws -> [HeldTask: TaskAction?] {
        let rows = try await database.query(
            """
            UPDATE agent_tasks SET lease_ends_at = now() + make_interval(secs => \(leaseTime.seconds))
            FROM unnest(\(tasks.map(\.id))::uuid[], \(tasks.map(\.attempt))::int[]) AS held (held_id, held_attempt)
            WHERE id = held_id AND attempt = held_attempt AND worker = \(worker) AND state = 'running' RETURNING id, attempt, requested
            """, for: "tasks.renew")
        var held: [HeldTask: TaskAction?] = [:]
        for row in rows {
            let task = HeldTask(id: try AgentTask.ID(row, "id"), attempt: try row.int("attempt"))
            held.updateValue(try row.optionalString("requested").flatMap { TaskAction(rawValue: $0) }, forKey: task)
        }
        return held
    }

    /// Fails tasks whose worker was lost in the last attempt they had, since they may be what ends their workers, and those that can be counted no
    /// further.
    ///
    /// As `claim`: of types that this program knows, and none that this process still runs.
    func failLost(maxAttempts: Int) async throws -> Int {
        let rows = try await database.query(
            """
            WITH lost AS (
                UPDATE agent_tasks SET state = 'failed', requested = NULL, finished_at = now(), lease_ends_at = NULL, updated_at = now(),
                    failures = least(failures, \(Self.attemptLimit - 1)) + CASE state WHEN 'running' THEN 1 ELSE 0 END,
                    error = CASE WHEN state = 'running' AND failures + 1 >= \(maxAttempts)
                        THEN 'its worker was lost; ' || failures + 1 || ' attempts have failed' ELSE 'it was begun too often, or has too many events' END,
                    event_sequence = least(event_sequence, \(Self.eventLimit - 1)) + 1
                WHERE (state = 'queued' OR state = 'running' AND lease_ends_at < now())
                    AND (state = 'running' AND failures + 1 >= \(maxAttempts) OR attempt >= \(Self.attemptLimit)
                        OR event_sequence >= \(Self.eventLimit - Self.eventReserve))
                    AND type = ANY(\(types)::text[]) AND id <> ALL(\(roster.held.map(\.id))::uuid[])
                RETURNING id, workspace_id, type, attempt, error, event_sequence),
            audited AS (
                INSERT INTO ai_audit_logs (workspace_id, task_id, action, summary)
                SELECT workspace_id, id, type || '.failed', error FROM lost),
            told AS (
                INSERT INTO agent_task_events (task_id, sequence, kind, payload)
                SELECT id, event_sequence, 'task:failed', jsonb_build_object('error', error, 'attempt', attempt)
                FROM lost ON CONFLICT DO NOTHING RETURNING \(unescaped: TaskEvent.columns))
            SELECT \(unescaped: TaskEvent.columns), workspace_id FROM lost LEFT JOIN told ON told.task_id = lost.id
            """, for: "tasks.fail-lost")
        for row in rows {
            onWrite(try Workspace.ID(row, "workspace_id"))
            // The number of its last event may be taken, where it counts no further.
            if try row.optionalString("task_id") != nil { hub.publish(try TaskEvent(row)) }
        }
        return rows.count
    }

    /// What is unfinished, of all workers.
    struct Backlog: Sendable {
        var byState: [AgentTask.State: Int] = [.queued: 0, .running: 0]
        /// Of the queued ones those of types that only another version knows.
        var forOthers = 0
        /// Since when the oldest of the rest has been waiting.
        var oldestQueued: Duration?
    }

    func backlog() async throws -> Backlog {
        let rows = try await database.query(
            """
            SELECT state, count(*) AS tasks, count(*) FILTER (WHERE state = 'queued' AND NOT known) AS for_others,
                max(extract(epoch FROM now() - queued_at)) FILTER (WHERE state = 'queued' AND known)::float8 AS oldest
            FROM (SELECT state, queued_at, type = ANY(\(types)::text[]) AS known FROM agent_tasks WHERE state IN ('queued', 'running')) unfinished
            GROUP BY state
            """, for: "tasks.backlog")
        var backlog = Backlog()
        for row in rows {
            backlog.byState[try row.value("state")] = try row.int("tasks")
            backlog.forOthers += try row.int("for_others")
            if let age = try row.optionalDouble("oldest") { backlog.oldestQueued = .seconds(max(0, age)) }
        }
        return backlog
    }

    /// Runs a statement that changes the held task and returns the event it made; then tells the hub.
    private func eventRow(_ statement: SQL, for purpose: Purpose) async throws -> Row {
        guard let row = try await database.query(statement, for: purpose).first else { throw LeaseLost() }
        hub.publish(try TaskEvent(row))
        return row
    }
}
