import AppCore
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import Vitals

/// What a client is told when a request fails: `{"error":code,"message":text,"retryAfter"?:seconds}`.
///
/// The one place where an error becomes a status. What we did not foresee is 500 without details: those are in the log.
struct ErrorAnswer: Error, Equatable {
    var status: HTTPResponse.Status
    /// For programs; never changes its meaning.
    var code: String
    /// For people: what failed, on what, and what to do.
    var message: String
    var retryAfter: Duration?
    /// Methods the path serves, on 405.
    var allowed: [String] = []
    /// Nobody foresaw it: worth a log line.
    var isUnexpected = false
    /// Nothing is wrong with the request, nor with the answer: the database has no room for it, is away, or does not answer in time.
    var isShortage = false

    init(_ status: HTTPResponse.Status, _ code: String, _ message: String, retryAfter: Duration? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
    }

    /// The database cannot serve it now, and may at the next try.
    private static func shortage(
        _ code: String, _ message: String, retryAfter: Duration = .seconds(1), status: HTTPResponse.Status = .serviceUnavailable
    ) -> ErrorAnswer {
        var answer = ErrorAnswer(status, code, message, retryAfter: retryAfter)
        answer.isShortage = true
        return answer
    }

    static func noSuchRoute(_ path: String) -> ErrorAnswer {
        ErrorAnswer(.notFound, "no_such_route", "nothing is served at \(path.oneLine(limit: 200))")
    }

    /// Nobody is there to read it; told in the metric alone. The number is the one that nginx made usual.
    static let clientGone = ErrorAnswer(
        HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request"), "client_gone", "the client left before its request was whole")

    static func methodNotAllowed(_ method: String, allowed: [String]) -> ErrorAnswer {
        var answer = ErrorAnswer(
            .methodNotAllowed, "method_not_allowed", "\(method) is not served here; \(allowed.joined(separator: ", ")) is")
        answer.allowed = allowed
        return answer
    }

    init(_ error: any Error) {
        switch error {
        case let answer as ErrorAnswer: self = answer
        case let problem as RequestProblem: self.init(problem)
        case let error as SchemaError:
            self.init(.serviceUnavailable, "schema_missing", error.description)
            isUnexpected = true
        case let error as PoolError: self.init(error)
        case let error as PostgresError: self.init(error)
        case let error as CacheTimeout: self = .shortage("deadline_exceeded", error.description, status: .gatewayTimeout)
        case let error as DecodingError: self.init(RequestProblem(error))
        case is NIOTooManyBytesError:
            self.init(.contentTooLarge, "body_too_large", "the body is larger than \(RequestBodies.limit / 1_024) KiB")
        // Nobody is there to read it: the client has left, or was made to.
        case is HTTPParserError: self.init(.badRequest, "incomplete", "the request ended before its body was complete")
        case is CancellationError: self.init(.serviceUnavailable, "cancelled", "the request was given up", retryAfter: .seconds(1))
        case let error as HTTPError where error.status.code < 500:
            self.init(error.status, "bad_request", error.body ?? error.status.reasonPhrase)
        default: self = .unexpected
        }
    }

    private static var unexpected: ErrorAnswer {
        var answer = ErrorAnswer(.internalServerError, "internal", "healthd could not serve this request; the reason is in its log")
        answer.isUnexpected = true
        return answer
    }

    private init(_ problem: RequestProblem) {
        switch problem {
        case .invalid: self.init(.badRequest, "invalid", problem.description)
        case .notFound: self.init(.notFound, "not_found", problem.description)
        case .conflict: self.init(.conflict, "conflict", problem.description)
        }
    }

    private init(_ error: PoolError) {
        switch error {
        case .saturated(_, _, let retryAfter, _):
            self = .shortage("pool_saturated", error.description, retryAfter: retryAfter)
        case .databaseUnavailable(_, _, let next):
            self = .shortage("database_unavailable", error.description, retryAfter: next)
        case .shuttingDown: self.init(.serviceUnavailable, "shutting_down", "healthd is stopping", retryAfter: .seconds(5))
        case .cancelled: self.init(.serviceUnavailable, "cancelled", error.description, retryAfter: .seconds(1))
        }
    }

    private init(_ error: PostgresError) {
        switch error {
        case .deadlineExceeded(let after):
            self = .shortage("deadline_exceeded", "the database did not answer within \(after.text)", status: .gatewayTimeout)
        case .cancelled: self.init(.serviceUnavailable, "cancelled", error.description, retryAfter: .seconds(1))
        case .connectFailed, .connectTimedOut, .connectionLost, .notSent: self = .shortage("database_unavailable", error.description)
        case .server(let server): self.init(server, error.description)
        case .transactionRolledBack, .decoding, .unsupported: self = .unexpected
        }
    }

    /// Why the server refused a statement. Its own words are passed on where they are about the server, and not where they may quote a row.
    private init(_ server: ServerError, _ words: String) {
        switch server.meaning {
        case .away, .full: self = .shortage("database_unavailable", words)
        case .busy, .conflict: self = .shortage("database_busy", words)
        case .stalePlan:
            self = .shortage("database_busy", "\(words): a migration changed the table; the next try finds it as it is now")
            isUnexpected = true
        case .readOnly: self = .shortage("database_read_only", "\(words): the database takes no writes at the moment", retryAfter: .seconds(5))
        case .schema:
            self.init(
                .serviceUnavailable, "schema_missing",
                "\(server.message): the database lacks a migration; see \"healthd migrate status\", then \"healthd migrate up\"")
            isUnexpected = true
        case .denied:
            self.init(.serviceUnavailable, "database_refused", "\(words): grant healthd's role what it needs, or give it another role")
            isUnexpected = true
        case .constraint:
            let rule = server.constraint.map { ", \"\($0)\"" } ?? ""
            self.init(.conflict, "conflict", "it contradicts a rule of the database\(rule)")
            isUnexpected = true
        case .text: self.init(.badRequest, "invalid", "a text contains a character that the database cannot hold: NUL, or one that its encoding lacks")
        case .statement: self = .unexpected
        }
    }

    var response: Response {
        var response = Response.data(ByteBuffer(bytes: body), contentType: "application/json", status: status)
        if let seconds = retryAfterSeconds { response.headers[.retryAfter] = "\(seconds)" }
        if !allowed.isEmpty { response.headers[.allow] = allowed.joined(separator: ", ") }
        return response
    }

    private var retryAfterSeconds: Int? { retryAfter.map(RetryAfter.whole) }

    var body: Data {
        struct Body: Encodable {
            var error: String
            var message: String
            var retryAfter: Int?
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(Body(error: code, message: message, retryAfter: retryAfterSeconds)))
            ?? Data("{\"error\":\"internal\"}".utf8)
    }
}
