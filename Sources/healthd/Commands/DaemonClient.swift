import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// Speaks to the running daemon on its own listener.
struct DaemonClient: Sendable {
    struct Answer: Sendable {
        var status: Int
        var body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
    }

    let address: ListenAddress

    /// More than any page of ours; a stranger on the port is not read to its end.
    private static let largestBody = 16 << 20

    /// - Throws: `CheckFailed` when nobody answers there, or not in time.
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
            throw CheckFailed("what answers on \(address) is not this version of healthd: \("\(error)".oneLine(limit: 300))")
        }
    }

    private func send(_ method: HTTPMethod, _ path: String, within limit: Duration) async throws -> Answer {
        var request = HTTPClientRequest(url: "http://\(address)\(path)")
        request.method = method
        request.headers.add(name: "accept", value: "application/json, application/health+json, text/plain")
        do {
            let response = try await HTTPClient.shared.execute(request, timeout: .nanoseconds(limit.nanoseconds))
            let body = try await response.body.collect(upTo: Self.largestBody)
            return Answer(status: Int(response.status.code), body: Array(body.readableBytesView))
        } catch {
            throw CheckFailed("healthd does not answer on \(address): \(Self.words(for: error, limit: limit)); does it run there? See systemctl status healthd")
        }
    }

    private static func words(for error: any Error, limit: Duration) -> String {
        switch error {
        case let error as HTTPClientError where [.deadlineExceeded, .connectTimeout, .readTimeout].contains(error): "nothing within \(limit.text)"
        case let error as IOError: String(cString: strerror(error.errnoCode)).lowercased()
        case let error as NIOConnectionError: error.connectionErrors.first.map { words(for: $0.error, limit: limit) } ?? "the name \(error.host) is not known"
        default: "\(error)".oneLine(limit: 200)
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
