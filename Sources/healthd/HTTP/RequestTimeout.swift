import AppCore
import HTTPTypes
import Hummingbird
import Vitals

/// How long a client is willing to wait, as it says so: `Request-Timeout: 2`, in seconds, fractions allowed.
///
/// It shortens what the route allows and never lengthens it.
/// Source: draft-thomson-hybi-http-timeout, "Request-Timeout", whole seconds; it expired, and no other name is a standard.
enum RequestTimeout {
    static let header = HTTPField.Name.constant("Request-Timeout")

    /// Whether the client gives less time than the route does: a read that fails for want of time then says nothing about the database.
    @TaskLocal static var shortensRoute = false

    /// - Throws: `RequestProblem.invalid`: a time that was not understood is not silently another one.
    static func parse(_ text: String) throws(RequestProblem) -> Duration {
        guard let seconds = Double(text), seconds.isFinite, seconds > 0 else {
            throw .invalid(field: "Request-Timeout", reason: "is \"\(text.oneLine(limit: 60))\"; expected seconds, e.g. 2 or 0.5")
        }
        // Longer than a day is longer than any route allows.
        return .seconds(min(seconds, 86_400))
    }
}

extension Request {
    /// Nil when the client did not say.
    var timeout: Duration? {
        get throws { try headers[RequestTimeout.header].map { text in try RequestTimeout.parse(text) } }
    }
}
