import TestServers
import Testing
import Vitals

@testable import Probes

/// Receivers that answer in a way of their own: the status decides, and no copies follow what was taken.
@Suite(.timeLimit(.minutes(1))) struct OddAnswersTests {
    private func answer(of server: FakeServer) async throws -> DeliveryAnswer {
        let sender = WebhookSender(version: "0.1.0", time: SystemTime())
        let answer = await sender.send(Array("{}".utf8), id: "a", to: try Receiver(name: "oncall", url: "http://127.0.0.1:\(server.port)/canary"))
        try await sender.shutdown()
        return answer
    }

    @Test(
        "F: what was answered with a 2xx is taken, however its lines end and whatever else is wrong with it",
        arguments: [
            "HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\n", "HTTP/1.0 200 OK\nContent-Type: text/plain\n\nok\n", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\nok",
            "HTTP/1.1 204 No Content\n\n", "HTTP/1.1 100 Continue\n\nHTTP/1.1 202 Accepted\n\n", "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ])
    func accepted(text: String) async throws {
        guard case .accepted = try await answer(of: try FakeServer(answering: text)) else {
            Issue.record("not taken: \(text)")
            return
        }
    }

    @Test("F: any other status decides as well, and what is no status decides nothing")
    func others() async throws {
        let refused = try await answer(of: try FakeServer(answering: "HTTP/1.1 404 Not Found\n\n"))
        #expect(refused == .answer(status: 404, retryAfter: nil, quote: "", now: WallTime(secondsSince1970: 0)))
        let unreadable = try await answer(of: try FakeServer(answering: "HTTP/1.1 503 Unavailable\r\nno header\r\n\r\n"))
        #expect(unreadable == .answer(status: 503, retryAfter: nil, quote: "", now: WallTime(secondsSince1970: 0)))
        for text in ["200 OK\n\n", "HTTP/1.1 2x0 OK\n\n", "HTTP/1.1 20", "SSH-2.0-OpenSSH_9.2\r\n"] {
            guard case .tryAgain(.unreachable, _, nil) = try await answer(of: try FakeServer(answering: text)) else {
                Issue.record("decided by \(text)")
                continue
            }
        }
    }

    @Test("a receiver that answers 200, and resets the connection with our body unread, has taken it")
    func unread() async throws {
        let server = try FakeServer(.answersUnread(Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8)))
        for _ in 0..<20 { #expect(try await answer(of: server) == .accepted(status: 200)) }
    }

    @Test("F: the head of an answer, in pieces of any size")
    func pieces() {
        let text = "HTTP/1.1 103 Early Hints\nlink: a\n\nHTTP/1.1 200 OK\r\na: b\n\nbody\nbody\r\n"
        let mended = "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\nbody\nbody\r\n"
        for size in 1...text.utf8.count {
            var (head, taken, rest) = (AnswerHead(), [UInt8](), Array(text.utf8)[...])
            while !rest.isEmpty {
                taken += head.taking(rest.prefix(size))
                rest = rest.dropFirst(size)
            }
            #expect(String(decoding: taken, as: UTF8.self) == mended, "in pieces of \(size)")
            #expect(head.status == 200 && head.isWhole)
        }
    }
}
