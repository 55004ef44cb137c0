import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Probes
import Vitals

/// Speaks to the running daemon on its own listener.
struct DaemonClient: Sendable {
    struct Answer: Sendable {
        var status: Int
        var body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
    }

    let address: ListenAddress

    /// Nobody answers at the daemon's address, or not as a daemon does.
    struct NoAnswer: Error, CustomStringConvertible {
        var kind: NetworkFailure.Kind
        var description: String
    }

    /// More than any page of ours; a stranger on the port is not read to its end.
    private static let largestBody = 16 << 20

    /// One attempt to connect: a daemon that is not there is told at once, not when the time for its answer is up.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    /// - Throws: `NoAnswer`, also when it does not come in time.
    func get(_ path: String, within limit: Duration = .seconds(5)) async throws -> Answer {
        try await send(.GET, path, within: limit)
    }

    func post(_ path: String, within limit: Duration) async throws -> Answer {
        try await send(.POST, path, within: limit)
    }

    /// - Throws: also when the answer's status is none of `statuses`, or its body is not what was asked for.
    func decode<Value: Decodable>(_ type: Value.Type, from answer: Answer, statuses: Set<Int> = [200]) throws -> Value {
        guard statuses.contains(answer.status) else { throw CheckFailed("healthd on \(address) answers \(answer.status): \(answer.complaint)") }
        do {
            return try JSONDecoder().decode(type, from: Data(answer.body))
        } catch {
            throw CheckFailed("what answers on \(address) is not this version of healthd: \(Self.words(for: error)); see --address, and healthd version")
        }
    }

    private func send(_ method: HTTPMethod, _ path: String, within limit: Duration) async throws -> Answer {
        var request = HTTPClientRequest(url: "http://\(address)\(path)")
        request.method = method
        request.headers.add(name: "accept", value: "application/json, application/health+json, text/plain")
        do {
            let response = try await Self.client.execute(request, timeout: .nanoseconds(limit.nanoseconds))
            let body = try await response.body.collect(upTo: Self.largestBody)
            return Answer(status: Int(response.status.code), body: Array(body.readableBytesView))
        } catch {
            let failure = NetworkFailure(error)
            let words = failure.kind == .timeout ? "nothing within \(limit.text)" : failure.words
            throw NoAnswer(
                kind: failure.kind,
                description: "healthd does not answer on \(address): \(words)\nSee \"systemctl status healthd\"; --address HOST:PORT asks elsewhere.")
        }
    }

    /// What a stranger's answer lacks, without the decoder's own words.
    private static func words(for error: any Error) -> String {
        func path(_ context: DecodingError.Context, _ last: (any CodingKey)? = nil) -> String {
            let keys = context.codingPath + [last].compactMap { $0 }
            return keys.map { $0.intValue.map { "\($0 + 1)" } ?? $0.stringValue }.joined(separator: ".")
        }
        return switch error {
        case DecodingError.keyNotFound(let key, let context): "its answer lacks \"\(path(context, key))\""
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
            context.codingPath.isEmpty ? "its answer is of another form" : "\"\(path(context))\" in its answer is of another form"
        default: "its answer is not JSON"
        }
    }
}

extension DaemonClient.Answer {
    /// The message of an error's JSON, or the start of whatever it is.
    var complaint: String {
        struct Complaint: Decodable { var message: String }
        return (try? JSONDecoder().decode(Complaint.self, from: Data(body)))?.message ?? text.oneLine(limit: 300)
    }
}
