import Glibc

/// A TCP client on this machine that sends what a test says, byte by byte, and then keeps its connection.
public final class RawClient: Sendable {
    private let descriptor: Int32

    public init(port: Int) throws {
        descriptor = try connectedSocket(port: port)
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    deinit { close(descriptor) }

    public func send(_ text: String) throws {
        let bytes = Array(text.utf8)
        guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw TestServerError("send: errno \(errno)")
        }
    }

    /// Half of a request, and no more: what a client that hangs has sent.
    public func sendHalfAHeader() throws {
        try send("GET /metrics HTTP/1.1\r\nHost: x\r\nX-A: ")
    }

    /// Asks, and answers all that came until the whole answer was there; for answers with a Content-Length.
    public func ask(_ path: String) async throws -> String {
        try send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
        return try await answer()
    }

    /// The answer to what was sent.
    public func answer() async throws -> String {
        var answer: [UInt8] = []
        try await until("an answer") {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count > 0 { answer += chunk[..<count] }
            return count == 0 || count < 0 && errno != EAGAIN || Self.isWhole(answer)
        }
        return String(decoding: answer, as: UTF8.self)
    }

    private static func isWhole(_ answer: [UInt8]) -> Bool {
        let text = String(decoding: answer, as: UTF8.self)
        guard let end = text.firstRange(of: "\r\n\r\n") else { return false }
        let lengths = text[..<end.lowerBound].split(separator: "\r\n").filter { $0.lowercased().hasPrefix("content-length:") }
        guard let length = lengths.first.flatMap({ Int($0.dropFirst("content-length:".count).drop { $0 == " " }) }) else { return false }
        return text[end.upperBound...].utf8.count >= length
    }

    /// Whether the server has ended the connection; takes a byte that lies ready.
    public var isClosed: Bool {
        var byte: UInt8 = 0
        let count = recv(descriptor, &byte, 1, 0)
        return count == 0 || count < 0 && errno != EAGAIN
    }
}
