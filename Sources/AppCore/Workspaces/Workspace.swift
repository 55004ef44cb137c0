public import Vitals

/// Somebody's view of one company: a row of `workflows`.
public struct Workspace: Sendable, Codable, Hashable, Identifiable {
    public enum Status: String, Sendable, Codable, CaseIterable {
        case active, paused, archived
    }

    public let id: ID
    public var userID: WorkspaceUser.ID
    public var name: String
    public var ticker: String
    public var status: Status
    public var thesis: String?
    /// Grows with each write to the row.
    public var version: Int
    public var createdAt: WallTime
    public var updatedAt: WallTime
    /// When somebody last looked at the overview, to the minute.
    public var lastAccessedAt: WallTime
    /// It was read from a standby, which may be behind. Not told to clients.
    public private(set) var mayLag = false

    private enum CodingKeys: String, CodingKey {
        case id, name, ticker, status, thesis, version, createdAt, updatedAt, lastAccessedAt
        case userID = "userId"
    }

    static let columns =
        "id, user_id, name, ticker, status, thesis, version, created_at, updated_at, last_accessed_at, pg_is_in_recovery() AS may_lag"

    init(_ row: Row) throws(PostgresError) {
        id = try ID(row, "id")
        userID = try WorkspaceUser.ID(row, "user_id")
        name = try row.string("name")
        ticker = try row.string("ticker")
        status = try row.value("status")
        thesis = try row.optionalString("thesis")
        version = try row.int("version")
        createdAt = try row.time("created_at")
        updatedAt = try row.time("updated_at")
        lastAccessedAt = try row.time("last_accessed_at")
        mayLag = try row.bool("may_lag")
    }
}

/// A row of `workflow_users`.
public enum WorkspaceUser {
    public typealias ID = Identifier<WorkspaceUser>

    /// Owns the workspaces that were created without naming a user.
    static let local = (email: "local@healthd.invalid", name: "Local")
}

/// What a client sends to make a workspace.
public struct NewWorkspace: Sendable, Codable, Hashable {
    public var name: String
    public var ticker: String
    public var thesis: String?
    /// Nil: the local user, who is made when first needed.
    public var userID: WorkspaceUser.ID?

    public init(name: String, ticker: String, thesis: String? = nil, userID: WorkspaceUser.ID? = nil) {
        self.name = name
        self.ticker = ticker
        self.thesis = thesis
        self.userID = userID
    }

    private enum CodingKeys: String, CodingKey {
        case name, ticker, thesis
        case userID = "userId"
    }

    func validate() throws(RequestProblem) {
        try RequestProblem.text(name, field: "name", limit: 200)
        try Ticker.validate(ticker)
        if let thesis { try RequestProblem.text(thesis, field: "thesis", limit: 20_000) }
    }
}

/// What a client sends to change a workspace; what is absent stays.
public struct WorkspacePatch: Sendable, Codable, Hashable {
    public var name: String?
    public var ticker: String?
    public var status: Workspace.Status?
    public var thesis: String?

    public init(name: String? = nil, ticker: String? = nil, status: Workspace.Status? = nil, thesis: String? = nil) {
        self.name = name
        self.ticker = ticker
        self.status = status
        self.thesis = thesis
    }

    func validate() throws(RequestProblem) {
        guard name != nil || ticker != nil || status != nil || thesis != nil else {
            throw .invalid(field: "body", reason: "changes nothing; expected name, ticker, status or thesis")
        }
        if let name { try RequestProblem.text(name, field: "name", limit: 200) }
        if let ticker { try Ticker.validate(ticker) }
        if let thesis { try RequestProblem.text(thesis, field: "thesis", limit: 20_000) }
    }
}

enum Ticker {
    /// A capital letter, then at most nine of capitals, digits, dot and dash: what the column allows.
    static func validate(_ text: String) throws(RequestProblem) {
        let bytes = text.utf8
        let fits = bytes.enumerated().allSatisfy { index, byte in
            (0x41...0x5A).contains(byte) || (index > 0 && ((0x30...0x39).contains(byte) || byte == 0x2E || byte == 0x2D))
        }
        guard fits, (1...10).contains(bytes.count) else {
            throw .invalid(field: "ticker", reason: "is \"\(text.clipped)\"; expected up to 10 capitals, digits, dots or dashes")
        }
    }
}

extension Row {
    /// A column that holds one of a closed set of words.
    func value<Value: RawRepresentable>(_ column: String) throws(PostgresError) -> Value where Value.RawValue == String {
        guard let value = Value(rawValue: try string(column)) else {
            throw .decoding(column: column, reason: "is not one of the words this program knows")
        }
        return value
    }

    func json(_ column: String) throws(PostgresError) -> JSONValue {
        guard let value = try optionalJSON(column) else { throw .decoding(column: column, reason: "is NULL") }
        return value
    }

    func optionalJSON(_ column: String) throws(PostgresError) -> JSONValue? {
        guard let text = try optionalString(column) else { return nil }
        guard let value = JSONValue(text: text) else {
            throw .decoding(column: column, reason: "is JSON that cannot be kept as it is: nested deeper than \(JSONValue.depthLimit), a number of more than 38 digits, or a name twice")
        }
        return value
    }
}
