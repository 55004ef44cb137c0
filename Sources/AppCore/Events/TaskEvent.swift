public import Vitals

/// Something that happened to a task: a row of `agent_task_events`, numbered from 1 without gaps.
public struct TaskEvent: Sendable, Codable, Hashable {
    public enum Kind: String, Sendable, Codable, CaseIterable {
        case taskStarted = "task:started"
        case stepStarted = "step:started"
        case stepCompleted = "step:completed"
        case taskCompleted = "task:completed"
        case taskFailed = "task:failed"
        case taskPaused = "task:paused"
        case taskCancelled = "task:cancelled"

        public var isFinal: Bool { self == .taskCompleted || self == .taskFailed || self == .taskCancelled }
    }

    public let taskID: AgentTask.ID
    public let sequence: Int
    public let kind: Kind
    public let payload: JSONValue
    public let at: WallTime

    private enum CodingKeys: String, CodingKey {
        case sequence, kind, payload, at
        case taskID = "taskId"
    }

    static let columns = "task_id, sequence, kind, payload, created_at"

    init(taskID: AgentTask.ID, sequence: Int, kind: Kind, payload: JSONValue, at: WallTime) {
        self.taskID = taskID
        self.sequence = sequence
        self.kind = kind
        self.payload = payload
        self.at = at
    }

    init(_ row: Row) throws(PostgresError) {
        taskID = try AgentTask.ID(row, "task_id")
        sequence = try row.int("sequence")
        kind = try row.value("kind")
        payload = try row.json("payload")
        at = try row.time("created_at")
    }

    /// The event as one JSON object, as streams send it.
    var json: JSONValue {
        [
            "taskId": .string(taskID.rawValue), "sequence": .integer(sequence), "kind": .string(kind.rawValue),
            "payload": payload, "at": .string(at.rfc3339),
        ]
    }
}
