import Vitals

/// The rows of agent tasks, for those who ask for work. What workers do with them is in `TaskClaims`.
public struct AgentTaskStore: Sendable {
    let database: Database
    let hub: EventHub
    let roster: TaskRoster
    let handlers: [any TaskHandler]
    /// Told of each workspace whose tasks, snapshots or log were written, or may have been; the steps of a running task excepted.
    let onWrite: @Sendable (Workspace.ID) -> Void
    /// Told of each workspace that was asked for here and does not exist.
    let onAbsence: @Sendable (Workspace.ID) async -> Void
    let unreadable: UnreadableRows

    /// - Parameters:
    ///   - handlers: the kinds of work that exist; a task of another type is refused.
    ///   - onWrite: told of each workspace whose tasks, snapshots or log were written, or may have been; the steps of a running task
    ///     excepted.
    ///   - onAbsence: told of each workspace that was asked for here and does not exist: whoever still has it is to forget it.
    public init(
        database: Database, hub: EventHub, handlers: [any TaskHandler] = TaskHandlers.all, unreadable: UnreadableRows = UnreadableRows(),
        onWrite: @escaping @Sendable (Workspace.ID) -> Void = { _ in }, onAbsence: @escaping @Sendable (Workspace.ID) async -> Void = { _ in }
    ) {
        self.database = database
        self.hub = hub
        self.handlers = handlers
        self.onWrite = onWrite
        self.onAbsence = onAbsence
        self.unreadable = unreadable
        roster = TaskRoster()
    }

    public var types: [String] { handlers.map(\.type) }

    func handler(for type: String) -> (any TaskHandler)? { handlers.first { $0.type == type } }

    /// Stores the task and wakes the worker, unless it is to be started by hand.
    ///
    /// - Throws: `RequestProblem` naming the field, or a workspace that does not exist.
    public func create(_ new: NewAgentTask) async throws -> AgentTask {
        guard handler(for: new.type) != nil else {
            throw RequestProblem.invalid(
                field: "type", reason: "is \"\(new.type.clipped)\"; expected one of \(types.joined(separator: ", "))")
        }
        let params = new.params ?? [:]
        _ = try TaskParameters(params)
        let size = params.text.utf8.count
        guard size <= TaskParameters.sizeLimit else {
            throw RequestProblem.invalid(field: "params", reason: "has \(size) bytes; expected at most \(TaskParameters.sizeLimit)")
        }
        let start = new.autoStart ?? true
        defer { onWrite(new.workspaceID) }
        do {
            let task = try await namingMigrations {
                let rows = try await database.query(
                    """
                    INSERT INTO agent_tasks (workspace_id, type, params, state, queued_at)
                    VALUES (\(new.workspaceID), \(new.type), \(params), \(unescaped: start ? "'queued', now()" : "'created', NULL"))
                    RETURNING \(unescaped: AgentTask.columns)
                    """, for: "tasks.create")
                guard let row = rows.first else { throw PostgresError.decoding(column: "id", reason: "nothing was returned") }
                return try AgentTask(row)
            }
            if start { roster.wake() }
            return task
        } catch let error as PostgresError where error.sqlState == "23503" {
            await onAbsence(new.workspaceID)
            throw RequestProblem.notFound(what: "workspace \(new.workspaceID)")
        }
    }

    public func find(_ id: AgentTask.ID) async throws -> AgentTask {
        try await namingMigrations {
            let rows = try await database.query(
                "SELECT \(unescaped: AgentTask.columns) FROM agent_tasks WHERE id = \(id)", for: "tasks.find")
            guard let row = rows.first else { throw RequestProblem.notFound(what: "task \(id)") }
            return try known(row)
        }
    }

    /// The task of a row. Another version may run beside this one, and may have states of its own.
    private func known(_ row: Row) throws -> AgentTask {
        let (id, state) = (try AgentTask.ID(row, "id"), try row.string("state"))
        guard AgentTask.State(rawValue: state) != nil else {
            throw RequestProblem.conflict("task \(id) is \(state.clipped), a state that this version of healthd does not know")
        }
        return try AgentTask(row)
    }

    /// The steps of a task as its events tell them.
    public func telemetry(_ id: AgentTask.ID) async throws -> TaskTelemetry {
        try await namingMigrations {
            try await database.withConnection(for: "tasks.telemetry") { lease in
                // Nothing of what it was given and what it found is told here.
                let rows = try await lease.query(
                    """
                    SELECT \(unescaped: AgentTask.columns) FROM (
                        SELECT id, workspace_id, type, '{}' AS params, state, attempt, current_step, progress, NULL AS error, NULL AS result, requested,
                            event_sequence, created_at, queued_at, started_at, finished_at, updated_at FROM agent_tasks WHERE id = \(id)) task
                    """)
                guard let row = rows.first else { throw RequestProblem.notFound(what: "task \(id)") }
                let events = try await lease.query(
                    """
                    SELECT \(unescaped: TaskEvent.columns) FROM (
                        SELECT task_id, sequence, kind, created_at,
                            jsonb_build_object('attempt', payload->'attempt', 'step', payload->'step', 'round', payload->'round',
                                'seconds', payload->'seconds') AS payload
                        FROM agent_task_events WHERE task_id = \(id) AND kind = ANY(\(TaskTelemetry.kinds.map(\.rawValue))::text[])
                        ORDER BY sequence DESC LIMIT \(TaskTelemetry.eventLimit)) latest
                    ORDER BY sequence
                    """
                ).map { row in try TaskEvent(row) }
                return try TaskTelemetry(task: known(row), events: events)
            }
        }
    }

    // MARK: Asking

    public func start(_ id: AgentTask.ID) async throws -> AgentTask { try await apply(.start, to: id) }
    public func pause(_ id: AgentTask.ID) async throws -> AgentTask { try await apply(.pause, to: id) }
    public func resume(_ id: AgentTask.ID) async throws -> AgentTask { try await apply(.resume, to: id) }
    public func cancel(_ id: AgentTask.ID) async throws -> AgentTask { try await apply(.cancel, to: id) }

    /// Does to the task what was asked, or asks its worker to.
    ///
    /// - Returns: the task as it is now; a running one carries what was asked of it in `requested`.
    /// - Throws: `RequestProblem.conflict` when its state does not allow it.
    public func apply(_ action: TaskAction, to id: AgentTask.ID) async throws -> AgentTask {
        // Known from the moment something may have been written: an answer that is lost leaves that open.
        var written: Workspace.ID?
        defer { if let written { onWrite(written) } }
        let (task, event) = try await namingMigrations {
            try await database.withTransaction(for: "tasks.action") { lease in
                let rows = try await lease.query(
                    """
                    SELECT \(unescaped: AgentTask.columns), coalesce(lease_ends_at >= now(), false) AS has_worker FROM agent_tasks
                    WHERE id = \(id) FOR UPDATE
                    """)
                guard let row = rows.first else { throw RequestProblem.notFound(what: "task \(id)") }
                let present = try known(row)
                let effect = try present.effect(of: action, hasWorker: row.bool("has_worker"))
                written = present.workspaceID
                return try await carryOut(effect, on: id, &lease)
            }
        }
        if let event { hub.publish(event) }
        switch task.state {
        case .queued: roster.wake()
        case .running: roster.ask(task.requested, of: task.held)
        // It was ours still, if its lease ended while the database was away.
        default: roster.lose(task.held)
        }
        return task
    }

    private func carryOut(_ effect: AgentTask.Effect, on id: AgentTask.ID, _ lease: inout Lease) async throws -> (AgentTask, TaskEvent?) {
        let changes: SQL
        var kind: TaskEvent.Kind?
        switch effect {
        case .become(.queued):
            changes = """
                UPDATE agent_tasks SET state = 'queued', requested = NULL, queued_at = now(), updated_at = now()
                WHERE id = \(id) RETURNING \(unescaped: AgentTask.columns)
                """
        case .become(.cancelled):
            kind = .taskCancelled
            changes = """
                UPDATE agent_tasks SET state = 'cancelled', requested = NULL, lease_ends_at = NULL, finished_at = now(),
                    event_sequence = event_sequence + 1, updated_at = now()
                WHERE id = \(id) RETURNING \(unescaped: AgentTask.columns)
                """
        case .become(let state):
            kind = .taskPaused
            changes = """
                UPDATE agent_tasks SET state = \(state.rawValue), requested = NULL, lease_ends_at = NULL,
                    event_sequence = event_sequence + 1, updated_at = now()
                WHERE id = \(id) RETURNING \(unescaped: AgentTask.columns)
                """
        case .ask(let action):
            changes = """
                UPDATE agent_tasks SET requested = \(action.rawValue), updated_at = now()
                WHERE id = \(id) RETURNING \(unescaped: AgentTask.columns)
                """
        case .withdraw:
            changes = """
                UPDATE agent_tasks SET requested = NULL, updated_at = now()
                WHERE id = \(id) RETURNING \(unescaped: AgentTask.columns)
                """
        }
        guard let row = try await lease.query(changes).first else { throw RequestProblem.notFound(what: "task \(id)") }
        let task = try AgentTask(row)
        guard let kind else { return (task, nil) }
        let inserted = try await lease.query(
            """
            INSERT INTO agent_task_events (task_id, sequence, kind) VALUES (\(id), \(task.eventSequence), \(kind.rawValue))
            RETURNING \(unescaped: TaskEvent.columns)
            """)
        return (task, try inserted.first.map { row in try TaskEvent(row) })
    }
}
