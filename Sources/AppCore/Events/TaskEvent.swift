public import Vitals

/// Something that happened to a task: a row of `agent_task_events`, numbered from 1 without gaps.
public struct TaskEvent: Sendable, Hashable {
    /// What happened. A later version may know more kinds than this one: they are passed on as they are.
    public struct Kind: RawRepresentable, Sendable, Hashable {
        public let rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        public static let taskStarted = Kind(rawValue: "task:started")
        public static let stepStarted = Kind(rawValue: "step:started")
        public static let stepCompleted = Kind(rawValue: "step:completed")
        public static let taskCompleted = Kind(rawValue: "task:completed")
        public static let taskFailed = Kind(rawValue: "task:failed")
        public static let taskPaused = Kind(rawValue: "task:paused")
        public static let taskCancelled = Kind(rawValue: "task:cancelled")

        /// Those that this version writes.
        public static let known = [taskStarted, stepStarted, stepCompleted, taskCompleted, taskFailed, taskPaused, taskCancelled]

        public var isFinal: Bool { self == .taskCompleted || self == .taskFailed || self == .taskCancelled }
    }

    public let taskID: AgentTask.ID
    public let sequence: Int
    public let kind: Kind
    public let payload: RawJSON
    public let at: WallTime

    /// A payload that is longer than an event may carry to all who follow is told by its length; the task has what was found.
    static let columns = "task_id, sequence, kind, created_at, \(bounded("payload")) AS payload"

    static func bounded(_ column: String) -> String {
        let limit = RowDocument.Values.brief.rawValue
        return """
            CASE WHEN octet_length(\(column)::text) <= \(limit) THEN \(column)::text \
            ELSE '{"omitted": ' || octet_length(\(column)::text) || '}' END
            """
    }

    init(taskID: AgentTask.ID, sequence: Int, kind: Kind, payload: JSONValue, at: WallTime) {
        self.taskID = taskID
        self.sequence = sequence
        self.kind = kind
        self.payload = RawJSON(payload)
        self.at = at
    }

    init(_ row: Row) throws(PostgresError) {
        taskID = try AgentTask.ID(row, "task_id")
        sequence = try row.int("sequence")
        kind = Kind(rawValue: try row.string("kind"))
        payload = try row.rawJSON("payload")
        at = try row.time("created_at")
    }

    /// The event as one JSON object, as streams send it.
    var json: String {
        "{\"at\":\"\(at.rfc3339)\",\"kind\":\(JSONValue.string(kind.rawValue)),\"payload\":\(payload.text),\"sequence\":\(sequence),\"taskId\":\"\(taskID)\"}"
    }
}
