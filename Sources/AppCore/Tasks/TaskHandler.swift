import Vitals

/// One kind of work, as a list of named steps over what is stored about a workspace.
///
/// Steps only read; what they find is stored once, when the task is finished. So a task whose worker was lost starts again from its first step.
/// `Examples/ThesisLength` is one that is written outside of this library.
public protocol TaskHandler: Sendable {
    /// The type a client names: `risk-assessment`.
    var type: String { get }
    var steps: [TaskStep] { get }
}

/// One step, under the name that its events carry.
public struct TaskStep: Sendable {
    public let name: String
    let perform: @Sendable (TaskData, inout TaskFindings) async throws -> Void

    /// - Parameter perform: reads, and adds to what the steps before it have found. It has the time of one step, `TaskConfiguration.step`. When
    ///   it throws a `TaskFailure` the task fails; when the database fails under it the task is tried again.
    public init(_ name: String, _ perform: @escaping @Sendable (TaskData, inout TaskFindings) async throws -> Void) {
        self.name = name
        self.perform = perform
    }
}

/// What the steps of one task have gathered so far.
public struct TaskFindings: Sendable {
    /// For the steps that follow, as are `days` and `statements`.
    public var workspace: Workspace?
    /// Oldest first.
    public var days: [MarketDay] = []
    /// Newest first.
    public var statements: [FinancialStatement] = []
    /// The result, by name.
    public var figures: [String: JSONValue] = [:]
    /// One sentence for the audit log.
    public var summary = ""

    public init() {}

    var closes: [Double] { days.map(\.close) }
}

/// The work cannot be done, however often it is tried.
public struct TaskFailure: Error, Sendable, CustomStringConvertible {
    public let description: String

    /// - Parameter description: the task's `error`, for whoever asked for the work.
    public init(_ description: String) {
        self.description = description
    }
}

/// What a client may set for every kind of task; other members of `params` are kept, for the handlers that know them.
public struct TaskParameters: Sendable, Hashable {
    /// Trading days looked back on.
    public internal(set) var days = 252
    /// How often the work is done anew, each time on the rows as they are then.
    public internal(set) var rounds = 1
    /// Between two rounds.
    public internal(set) var interval = Duration.zero

    static let minimumDays = 20
    /// Of all of them as JSON: they say what is to be done and are no data. A worker holds those of every task that it runs.
    static let sizeLimit = 65_536

    /// - Throws: `RequestProblem.invalid` naming the member.
    init(_ params: JSONValue) throws(RequestProblem) {
        guard case .object(let members) = params else { throw .invalid(field: "params", reason: "has the wrong type; expected an object") }
        if params.containsNUL { throw .invalid(field: "params", reason: "contains a NUL character") }
        if let value = members["days"] { days = try Self.whole(value, "params.days", Self.minimumDays...2_520) }
        if let value = members["rounds"] { rounds = try Self.whole(value, "params.rounds", 1...3_600) }
        if let value = members["interval"] {
            guard let text = value.stringValue, let duration = Duration(setting: text), duration <= .seconds(60) else {
                throw .invalid(field: "params.interval", reason: "is \(value.text.clipped); expected a duration up to 60s, such as \"1s\" or \"250ms\"")
            }
            interval = duration
        }
    }

    private static func whole(_ value: JSONValue, _ field: String, _ range: ClosedRange<Int>) throws(RequestProblem) -> Int {
        guard let number = value.intValue, range.contains(number) else {
            throw .invalid(field: field, reason: "is \(value.text.clipped); expected a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
