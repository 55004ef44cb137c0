import Vitals

/// What went wrong with a statement or a connection; a case per different reaction.
public enum PostgresError: Error, Sendable {
    /// The server refused the statement. The connection goes on, unless the server goes away (`SQLState`).
    case server(ServerError)

    /// The connection could not be opened. Another attempt may succeed.
    case connectFailed(String, sqlState: String?)

    /// The connection could not be opened in time: whom was asked, and for how long. Another attempt may succeed.
    case connectTimedOut(String, after: Duration)

    /// The connection broke. Whether the statement took effect is unknown, if it was sent at all.
    case connectionLost(String)

    /// No answer by the deadline. The statement is cancelled on the server, if it was sent at all.
    case deadlineExceeded(after: Duration)

    /// The caller was cancelled: the statement was not sent, or is being cancelled on the server.
    case cancelled

    /// The server rolled back where it was asked to commit: a statement of the transaction had failed, and its error was not passed on.
    case transactionRolledBack

    /// The result is not what the caller said it would be.
    case decoding(column: String, reason: String)

    /// The statement was not sent: it has no effect.
    case notSent(String)

    /// Something that is not possible here: COPY with rows of the client's, or the end of a transaction inside its own body. What was sent
    /// before may have taken effect.
    case unsupported(String)

    public var sqlState: String? {
        switch self {
        case .server(let error): error.sqlState
        case .connectFailed(_, let sqlState): sqlState
        default: nil
        }
    }
}

/// An error as the server reported it. Row values, which its DETAIL may quote, are left out.
///
/// Source: PostgreSQL 15, section 55.8, error and notice message fields.
public struct ServerError: Sendable, Hashable {
    /// Five characters, PostgreSQL 15 appendix A.
    public var sqlState: String
    public var severity: String
    public var message: String
    public var hint: String?
    public var table: String?
    public var constraint: String?
    /// The server could not plan the statement as it stands, for the text that it names or for a plan of it that is stale. False when it is about
    /// what a parameter, a row or a function brought.
    var isOfPlan = false

    public init(
        sqlState: String, severity: String = "ERROR", message: String, hint: String? = nil, table: String? = nil,
        constraint: String? = nil
    ) {
        self.sqlState = sqlState
        self.severity = severity
        self.message = message
        self.hint = hint
        self.table = table
        self.constraint = constraint
    }

    /// What the server says to text it cannot hold. libpq would cut a statement or a parameter off at its zero byte, so it is not sent.
    static let zeroByte = ServerError(
        sqlState: "22021", message: "a statement or a parameter of it contains a NUL character, which text in PostgreSQL cannot hold")
}

extension PostgresError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .server(let error):
            let hint = error.hint.map { "; \($0)" } ?? ""
            return "postgres: \(error.message) (SQLSTATE \(error.sqlState))\(hint)"
        case .connectFailed(let reason, let sqlState):
            return "postgres: cannot connect: \(reason)" + (sqlState.map { " (SQLSTATE \($0))" } ?? "")
        case .connectTimedOut(let server, let after):
            return "postgres: cannot connect: \(server): no answer within \(after.text); is a firewall between us, or the server overloaded?"
        case .connectionLost(let reason): return "postgres: connection lost: \(reason)"
        case .deadlineExceeded(let after): return "postgres: no answer within \(after.text)"
        case .cancelled: return "postgres: the caller was cancelled"
        case .transactionRolledBack:
            return "postgres: rolled back instead of committed: a statement of the transaction had failed, and its error was not passed on"
        case .decoding(let column, let reason): return "postgres: column \"\(column)\": \(reason)"
        case .notSent(let reason): return "postgres: statement not sent: \(reason)"
        case .unsupported(let reason): return "postgres: \(reason)"
        }
    }
}
