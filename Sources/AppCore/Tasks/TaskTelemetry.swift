public import Vitals

/// How a task went, step by step: the answer of `GET /api/agents/tasks/{id}/telemetry`.
public struct TaskTelemetry: Sendable, Codable, Hashable {
    public struct Step: Sendable, Codable, Hashable {
        public var name: String
        public var attempt: Int
        public var round: Int
        public var startedAt: WallTime
        /// Nil while it runs, or when it never ended.
        public var seconds: Double?
    }

    /// Steps are told from the latest events; a task of many rounds has more than anybody reads.
    static let eventLimit = 2_000
    static let kinds: [TaskEvent.Kind] = [.taskStarted, .stepStarted, .stepCompleted]

    public var taskID: AgentTask.ID
    public var state: AgentTask.State
    public var attempt: Int
    public var progress: Double
    /// From the last time it was queued to its first start; nil before that.
    public var queueSeconds: Double?
    /// From its first start to its end.
    public var runSeconds: Double?
    public var events: Int
    public var steps: [Step]

    private enum CodingKeys: String, CodingKey {
        case state, attempt, progress, queueSeconds, runSeconds, events, steps
        case taskID = "taskId"
    }

    /// - Parameter events: in order.
    init(task: AgentTask, events: [TaskEvent]) {
        taskID = task.id
        state = task.state
        attempt = task.attempt
        progress = task.progress
        self.events = task.eventSequence
        runSeconds = task.startedAt.flatMap { started in task.finishedAt.map { ($0 - started).seconds } }
        queueSeconds = nil
        steps = []
        var attempt = 0
        for event in events {
            let facts = event.payload.value
            switch event.kind {
            case .taskStarted:
                attempt = facts?["attempt"]?.intValue ?? attempt + 1
                if queueSeconds == nil, let queued = task.queuedAt { queueSeconds = max(0, (event.at - queued).seconds) }
            case .stepStarted:
                steps.append(
                    Step(
                        name: facts?["step"]?.stringValue ?? "", attempt: attempt, round: facts?["round"]?.intValue ?? 1,
                        startedAt: event.at, seconds: nil))
            case .stepCompleted:
                if let last = steps.indices.last { steps[last].seconds = facts?["seconds"]?.doubleValue }
            default: break
            }
        }
    }
}
