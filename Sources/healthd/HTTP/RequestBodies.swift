import AppCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import Vitals

/// Reading what a client sent: bounded, and precise about what was wrong.
enum RequestBodies {
    /// Bytes a body may have; more is 413.
    static let limit = 1_048_576
}

extension Request {
    /// - Throws: `RequestProblem.invalid` naming the field; 413 beyond `RequestBodies.limit`; 415 for a body that says it is no JSON; 499 when the
    ///   client goes away before it is whole.
    func json<Body: Decodable>(_ type: Body.Type) async throws -> Body {
        try RequestProblem.decode(type, from: try await jsonBody().readableBytesView)
    }

    /// The body of a client that says it sends JSON, or nothing else; not yet looked at.
    func jsonBody() async throws -> ByteBuffer {
        // A browser sends a form as text/plain without asking; only a deliberate client says JSON or nothing.
        if let contentType = headers[.contentType], !contentType.lowercased().contains("json") {
            throw ErrorAnswer(.unsupportedMediaType, "unsupported_media_type", "send the body as application/json")
        }
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > RequestBodies.limit {
            throw ErrorAnswer(.contentTooLarge, "body_too_large", "the body is larger than \(RequestBodies.limit / 1_024) KiB")
        }
        let buffer = try await receivedBody()
        guard buffer.readableBytes > 0 else {
            throw RequestProblem.invalid(field: "body", reason: "is empty; expected a JSON object")
        }
        return buffer
    }

    /// An error while it comes is a client that went away, whatever its type: all but a body that is too long, one that is no HTTP, and a time limit
    /// of ours.
    private func receivedBody() async throws -> ByteBuffer {
        do {
            return try await body.collect(upTo: RequestBodies.limit)
        } catch let error as NIOTooManyBytesError {
            throw error
        } catch let error as HTTPParserError where error != .invalidEOFState {
            throw error
        } catch let error as CancellationError {
            throw error
        } catch {
            throw ErrorAnswer.clientGone
        }
    }

    /// A whole number from the query, within `range`; `value` when it is absent.
    ///
    /// - Throws: `RequestProblem.invalid` naming the parameter: a limit out of range is not silently another one.
    func query(_ name: String, in range: ClosedRange<Int>, default value: Int) throws -> Int {
        guard let text = uri.queryParameters.get(name) else { return value }
        guard let number = Int(text), range.contains(number) else {
            throw RequestProblem.invalid(
                field: name,
                reason: "is \"\(text.oneLine(limit: 60))\"; expected a whole number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return number
    }

    /// Whether the query names it, with or without a value.
    func hasQuery(_ name: String) -> Bool { uri.queryParameters.has(Substring(name)) }
}

extension HTTPContext {
    /// A part of the path. It is there, or the route would not have been chosen.
    func part(_ name: String) throws -> String { try parameters.require(name) }
}
