import Glibc
import TestServers
import Vitals

/// How long requests took, one after another on one kept-alive connection, as a scraper makes them.
public struct Latency: Sendable {
    /// Sorted.
    public var times: [Duration]

    /// The time below which this share of them lies.
    public func quantile(_ share: Double) -> Duration {
        guard !times.isEmpty else { return .seconds(3_600) }
        return times[min(times.count - 1, Int(Double(times.count) * share))]
    }

    /// Sends `count` requests on a thread of its own, with blocking sockets, so that nothing of this process is in the figures.
    ///
    /// Every answer must be a 200.
    public static func measure(port: Int, path: String = "/metrics", count: Int) async throws -> Latency {
        try await onOwnThread { Result { try measureNow(port: port, path: path, count: count) } }.get()
    }

    private static func measureNow(port: Int, path: String, count: Int) throws -> Latency {
        let descriptor = try connectedSocket(port: port)
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))

        let request = Array("GET \(path) HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/plain;version=0.0.4\r\n\r\n".utf8)
        var times: [Duration] = []
        for _ in 0..<count {
            let began = MonotonicInstant.now()
            guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
                throw TestServerError("cannot send: errno \(errno)")
            }
            try readAnswer(descriptor)
            times.append(.now() - began)
        }
        return Latency(times: times.sorted())
    }

    private static func readAnswer(_ descriptor: Int32) throws {
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var bodyStart: Int?
        var length = 0
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { throw TestServerError("the answer broke off after \(received.count) bytes: errno \(errno)") }
            received += chunk[..<count]
            if bodyStart == nil, let end = received.firstRange(of: Array("\r\n\r\n".utf8)) {
                bodyStart = end.upperBound
                let head = String(decoding: received[..<end.lowerBound], as: UTF8.self).lowercased()
                guard head.hasPrefix("http/1.1 200") else { throw TestServerError("not a 200: \(head.prefix(40))") }
                guard let field = head.split(separator: "\r\n").first(where: { $0.hasPrefix("content-length:") }),
                    let value = Int(field.split(separator: ":")[1].drop(while: { $0 == " " }))
                else { throw TestServerError("an answer without a length") }
                length = value
            }
            if let bodyStart, received.count >= bodyStart + length { return }
        }
    }
}
