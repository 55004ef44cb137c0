public import Vitals

/// A piece of work an agent does for a workspace: a durable row, claimed by a worker, run in steps.
public struct AgentTask: Sendable, Codable, Hashable, Identifiable {
    public typealias ID = Identifier<AgentTask>

    public enum State: String, Sendable, Codable, CaseIterable {
        /// Waits for somebody to start it. Leads to queued or cancelled.
        case created
        /// Waits for a worker. Leads to running, paused or cancelled.
        case queued
        /// A worker holds it until the end of its lease. Leads to any but created.
        case running
        /// Somebody asked it to wait. Leads to queued or cancelled.
        case paused
        /// Its result is stored. Final.
        case completed
        /// It cannot be done; `error` says why. Final.
        case failed
        /// Final.
        case cancelled

        public var isFinal: Bool { self == .completed || self == .failed || self == .cancelled }
    }

    public let id: ID
    public let workspaceID: Workspace.ID
    public let type: String
    public let params: JSONValue
    public var state: State
    /// How often a worker has claimed it.
    public var attempt: Int
    public var currentStep: String?
    /// 0 to 1.
    public var progress: Double
    /// Why it failed.
    public var error: String?
    /// What it found; also stored as a snapshot of the workspace.
    public var result: JSONValue?
    /// What somebody asked of it while it ran and the worker has not yet done.
    public var requested: TaskAction?
    /// The number of its latest event.
    public var eventSequence: Int
    public var createdAt: WallTime
    public var queuedAt: WallTime?
    public var startedAt: WallTime?
    public var finishedAt: WallTime?
    public var updatedAt: WallTime

    private enum CodingKeys: String, CodingKey {
        case id, type, params, state, attempt, currentStep, progress, error, result, requested, eventSequence
        case createdAt, queuedAt, startedAt, finishedAt, updatedAt
        case workspaceID = "workspaceId"
    }

    static let columns = """
        id, workspace_id, type, params, state, attempt, current_step, progress, error, result, requested, event_sequence, \
        created_at, queued_at, started_at, finished_at, updated_at
        """

    /// A task as it is when it was just made.
    init(id: ID, workspaceID: Workspace.ID, type: String = "risk-assessment", params: JSONValue = [:], at now: WallTime = WallTime(secondsSince1970: 0)) {
        self.id = id
        self.workspaceID = workspaceID
        self.type = type
        self.params = params
        state = .created
        attempt = 0
        progress = 0
        eventSequence = 0
        createdAt = now
        updatedAt = now
    }

    init(_ row: Row) throws(PostgresError) {
        id = try ID(row, "id")
        workspaceID = try Workspace.ID(row, "workspace_id")
        type = try row.string("type")
        params = try row.json("params")
        state = try row.value("state")
        attempt = try row.int("attempt")
        currentStep = try row.optionalString("current_step")
        progress = try row.double("progress")
        error = try row.optionalString("error")
        result = try row.optionalJSON("result")
        requested = try row.optionalString("requested").flatMap { TaskAction(rawValue: $0) }
        eventSequence = try row.int("event_sequence")
        createdAt = try row.time("created_at")
        queuedAt = try row.optionalTime("queued_at")
        startedAt = try row.optionalTime("started_at")
        finishedAt = try row.optionalTime("finished_at")
        updatedAt = try row.time("updated_at")
    }
}

/// What a client sends to make a task: the body of `POST /api/agents/tasks`.
public struct NewAgentTask: Sendable, Codable, Hashable {
    public var workspaceID: Workspace.ID
    public var type: String
    /// Nil is no parameters.
    public var params: JSONValue?
    /// False: it waits to be started. Nil is true.
    public var autoStart: Bool?

    public init(workspaceID: Workspace.ID, type: String, params: JSONValue? = nil, autoStart: Bool? = nil) {
        self.workspaceID = workspaceID
        self.type = type
        self.params = params
        self.autoStart = autoStart
    }

    private enum CodingKeys: String, CodingKey {
        case type, params, autoStart
        case workspaceID = "workspaceId"
    }
}

/// What somebody may ask of a task.
public enum TaskAction: String, Sendable, Codable, CaseIterable {
    case start, pause, resume, cancel
}

extension AgentTask {
    /// What an action does to a task.
    enum Effect: Hashable {
        /// It is in the new state at once.
        case become(State)
        /// Its worker is asked, and sees it before the next step.
        case ask(TaskAction)
        /// What was asked and not yet done is taken back.
        case withdraw
    }

    /// Decides what `action` does to a task in this state.
    ///
    /// - Parameter hasWorker: its lease has not ended. Without one there is nobody to ask: a worker that comes back finds it changed.
    /// - Throws: `RequestProblem.conflict` with the state and what would be possible.
    func effect(of action: TaskAction, hasWorker: Bool) throws(RequestProblem) -> Effect {
        switch (action, state) {
        case (.start, .created), (.resume, .paused): return .become(.queued)
        case (.pause, .created), (.pause, .queued): return .become(.paused)
        case (.cancel, .created), (.cancel, .queued), (.cancel, .paused): return .become(.cancelled)
        case (.pause, .running) where !hasWorker: return .become(.paused)
        case (.cancel, .running) where !hasWorker: return .become(.cancelled)
        case (.pause, .running) where requested == nil, (.cancel, .running) where requested != .cancel: return .ask(action)
        case (.resume, .running) where requested == .pause: return .withdraw
        case (.pause, .running), (.cancel, .running):
            throw .conflict("task \(id) has already been asked to \(requested?.rawValue ?? action.rawValue)")
        default:
            throw .conflict("task \(id) is \(state.rawValue); \(Self.rule(for: action))")
        }
    }

    private static func rule(for action: TaskAction) -> String {
        switch action {
        case .start: "only a created task can be started"
        case .pause: "only a created, queued or running task can be paused"
        case .resume: "only a paused task can be resumed"
        case .cancel: "only an unfinished task can be cancelled"
        }
    }
}
