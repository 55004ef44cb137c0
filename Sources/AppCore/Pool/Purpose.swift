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
