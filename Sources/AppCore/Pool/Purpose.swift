/// Why a connection is taken: a short fixed name such as `workspace.overview`, the same for every call from that place.
public struct Purpose: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    public let name: String

    public init(stringLiteral name: String) {
        self.name = name
    }

    public var description: String { name }
}

/// On whose behalf a task works: set by a route or a worker, shown beside the purpose of every lease it takes.
public enum Work {
    /// For example `GET /api/workspaces/{id}/overview` or `task 0b9c…`.
    @TaskLocal public static var detail: String?

    /// How urgent it is, where connections are short.
    @TaskLocal public static var workClass = WorkClass.interactive
}

/// How urgent a caller's work is. The more urgent class is served first, whoever came first.
public enum WorkClass: String, Sendable, CaseIterable, Comparable {
    /// What must go on when all else waits: a readiness check, an operator's look. Has a connection in reserve.
    case critical
    /// Somebody waits for the answer.
    case interactive
    /// Nobody waits: agent tasks, refreshes. Gets three quarters of the connections at most.
    case background

    var index: Int {
        switch self {
        case .critical: 0
        case .interactive: 1
        case .background: 2
        }
    }

    /// More urgent is less.
    public static func < (left: Self, right: Self) -> Bool { left.index < right.index }
}

/// Where in the source a connection was asked for.
public struct CallSite: Sendable, CustomStringConvertible {
    public let file: StaticString
    public let line: UInt

    public init(file: StaticString, line: UInt) {
        self.file = file
        self.line = line
    }

    public var description: String { "\(file):\(line)" }
}
