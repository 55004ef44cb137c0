import AsyncHTTPClient
import NIOCore
import NIOHTTP1

/// HTTP requests to one address, as a person with `curl` would make them.
public struct Web: Sendable {
    public let base: String

    public init(port: Int) {
        base = "http://127.0.0.1:\(port)"
    }

    public struct Answer: Sendable {
        public var status: Int
        public var headers: [String: String]
        public var text: String

        public var json: JSON { get throws { try JSON(text) } }
    }

    public func get(_ path: String, headers: [String: String] = [:], within limit: Duration = .seconds(20)) async throws -> Answer {
        try await send("GET", path, headers: headers, body: nil, within: limit)
    }

    public func post(_ path: String, _ body: String = "{}", within limit: Duration = .seconds(20)) async throws -> Answer {
        try await send("POST", path, headers: ["content-type": "application/json"], body: body, within: limit)
    }

    public func send(_ method: String, _ path: String, headers: [String: String], body: String?, within limit: Duration) async throws -> Answer {
        var request = HTTPClientRequest(url: base + path)
        request.method = HTTPMethod(rawValue: method)
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if let body { request.body = .bytes(ByteBuffer(string: body)) }
        let nanoseconds = limit.components.seconds * 1_000_000_000 + limit.components.attoseconds / 1_000_000_000
        let response = try await HTTPClient.shared.execute(request, timeout: .nanoseconds(nanoseconds))
        let content = try await response.body.collect(upTo: 16 << 20)
        var headers: [String: String] = [:]
        for (name, value) in response.headers { headers[name.lowercased()] = value }
        return Answer(status: Int(response.status.code), headers: headers, text: String(buffer: content))
    }

    /// One event of a stream of server-sent events.
    public struct Event: Sendable {
        public var id = ""
        public var kind = ""
        public var data = ""
    }

    /// Reads a stream until `isLast` says so, the stream ends, or the time is over; answers the events in order.
    public func events(
        _ path: String, lastEventID: String? = nil, within limit: Duration, until isLast: @Sendable (Event) -> Bool
    ) async throws -> [Event] {
        var request = HTTPClientRequest(url: base + path)
        request.headers.add(name: "accept", value: "text/event-stream")
        if let lastEventID { request.headers.add(name: "last-event-id", value: lastEventID) }
        let response = try await HTTPClient.shared.execute(request, timeout: .nanoseconds(limit.components.seconds * 1_000_000_000))
        guard response.status == .ok else { throw UnexpectedStatus(path: path, status: Int(response.status.code)) }
        var events: [Event] = []
        var event = Event()
        var rest: [UInt8] = []
        for try await buffer in response.body {
            rest += buffer.readableBytesView
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: rest[..<end], as: UTF8.self)
                rest.removeFirst(end + 1)
                if line.isEmpty {
                    if !event.kind.isEmpty || !event.data.isEmpty { events.append(event) }
                    if isLast(event) { return events }
                    event = Event()
                    continue
                }
                let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                let value = parts.count > 1 ? String(parts[1].drop(while: { $0 == " " })) : ""
                switch parts[0] {
                case "id": event.id = value
                case "event": event.kind = value
                case "data": event.data += value
                default: break
                }
            }
        }
        return events
    }
}

public struct UnexpectedStatus: Error {
    var path: String
    var status: Int
}
