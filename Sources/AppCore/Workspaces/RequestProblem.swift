import Vitals

/// What is wrong with what a client asked for; never our fault and never worth a retry as it is.
public enum RequestProblem: Error, Sendable, Hashable, CustomStringConvertible {
    /// A field of the request; `reason` reads on from the field's name: `is "x"; expected a UUID`. HTTP 400.
    case invalid(field: String, reason: String)
    /// HTTP 404.
    case notFound(what: String)
    /// The thing exists and is in a state that does not allow it. HTTP 409.
    case conflict(String)

    public var description: String {
        switch self {
        case .invalid(let field, let reason): "\(field) \(reason)"
        case .notFound(let what): "\(what) does not exist"
        case .conflict(let reason): reason
        }
    }

    /// Decodes a JSON body, naming the field that does not fit.
    public static func decode<Value: Decodable>(_ type: Value.Type, from body: some Sequence<UInt8>) throws(RequestProblem) -> Value {
        try decode(type, from: try JSONValue.body(Array(body)))
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from value: JSONValue) throws(RequestProblem) -> Value {
        do {
            return try JSONBody(value: value).decode(type)
        } catch let error as DecodingError {
            throw RequestProblem(error)
        } catch let problem as RequestProblem {
            throw problem
        } catch {
            throw .invalid(field: "body", reason: "cannot be read")
        }
    }

    public init(_ error: DecodingError) {
        func path(_ keys: [any CodingKey], and last: (any CodingKey)? = nil) -> String {
            let names = (keys + [last].compactMap { $0 }).map { key in key.intValue.map { "[\($0)]" } ?? key.stringValue }
            return names.isEmpty ? "body" : names.joined(separator: ".").replacing(".[", with: "[")
        }
        switch error {
        case .keyNotFound(let key, let context):
            self = .invalid(field: path(context.codingPath, and: key), reason: "is missing")
        case .valueNotFound(let type, let context):
            self = .invalid(field: path(context.codingPath), reason: "is null; expected \(Self.word(for: type))")
        case .typeMismatch(let type, let context):
            self = .invalid(field: path(context.codingPath), reason: "has the wrong type; expected \(Self.word(for: type))")
        case .dataCorrupted(let context):
            let reason = context.codingPath.isEmpty ? "is not valid JSON" : context.debugDescription
            self = .invalid(field: path(context.codingPath), reason: reason)
        @unknown default:
            self = .invalid(field: "body", reason: "cannot be read")
        }
    }

    private static func word(for type: any Any.Type) -> String {
        if type == String.self { return "a string" }
        if type == Bool.self { return "true or false" }
        if type is any FixedWidthInteger.Type { return "a whole number" }
        if type == Double.self { return "a number" }
        if type == [Any].self { return "a list" }
        return type == [String: Any].self ? "an object" : "another"
    }

    static func limit(_ value: Int, in range: ClosedRange<Int>) throws(RequestProblem) {
        guard range.contains(value) else {
            throw .invalid(field: "limit", reason: "is \(value); expected \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// Text that goes into a column: not blank, bounded, and without NUL, which PostgreSQL cannot hold.
    static func text(_ value: String, field: String, limit: Int) throws(RequestProblem) {
        guard !value.allSatisfy(\.isWhitespace) else { throw .invalid(field: field, reason: "is empty") }
        guard value.utf8.count <= limit else {
            throw .invalid(field: field, reason: "has \(value.utf8.count) bytes; expected at most \(limit)")
        }
        guard !value.utf8.contains(0) else { throw .invalid(field: field, reason: "contains a NUL character") }
    }
}

extension String {
    /// A client's text as it may stand in a message to that client.
    var clipped: String { oneLine(limit: 60) }
}
