import FoundationEssentials
import Testing
import Vitals

@testable import Probes

@Suite struct `What is repeated of an answer` {
    @Test(arguments: [
        ("", ""), ("{\"ok\":false,\"error\":\"channel_not_found\"}", "ok false error channel not found"),
        ("invalid_payload", "invalid payload"), ("Cannot POST /hook/canary", "cannot post"),
        ("{\"status\":\"invalid event\",\"message\":\"Event object is invalid\"}", "status invalid event message event object is invalid"),
        ("<html><head><title>404 Not Found</title></head><body>nginx</body></html>", "html … not found"),
        ("x\u{0}\u{1B}[31m", ""), (String(repeating: "not found ", count: 500), "not found not found not found not found not found not found"),
    ])
    func `are words that services say`(_ text: String, _ quote: String) {
        #expect(AnswerQuote.quote(text, hiding: []).hasPrefix(quote) && (!quote.isEmpty || AnswerQuote.quote(text, hiding: []).isEmpty), "\(AnswerQuote.quote(text, hiding: []))")
    }

    /// Ways in which an answer may repeat a text. The rule does not know them, and need not.
    static let echoes: [@Sendable (String) -> String] = [
        { $0 }, { $0.uppercased() }, { $0.lowercased() }, { "Cannot POST \($0)" }, { String($0.reversed()) },
        { $0.utf8.map { "%" + String($0, radix: 16) }.joined() }, { $0.utf8.map { String($0, radix: 16) }.joined() },
        { $0.utf8.map { "&#\($0);" }.joined() }, { $0.utf16.map { "\\u00" + String($0, radix: 16) }.joined() },
        { $0.replacing("/", with: "\\/") }, { Data($0.utf8).base64EncodedString() }, { "x" + Data(("y" + $0).utf8).base64EncodedString() },
        { $0.map { "\($0) " }.joined() }, { $0.map { "\($0)\n" }.joined() }, { String($0.dropLast(3)) }, { String($0.dropFirst(3)) },
        { $0.utf8.map { String($0) }.joined(separator: ",") },
    ]

    @Test(arguments: ["/services/T0B1/canary", "/hook/not-found-token-CANARY?key=message", "/invalidtoken", "/XoXbKlmPqRsT", "/a/is/no"])
    func `A9: is nothing that was secret in the request, in whatever way it is repeated`(_ secret: String) throws {
        let receiver = try Receiver(
            name: "oncall", url: "https://user:paSSw0rdcanary@example.org\(secret)", secrets: [Secret("canary-key-message")])
        let secrets = receiver.secretsOfRequest
        let pieces = secrets.flatMap { $0.lowercased().split { !$0.isLetter && !$0.isNumber } }.map(String.init).filter { $0.utf8.count > 3 }
        #expect(pieces.contains("passw0rdcanary") && pieces.contains("message"))
        for echo in Self.echoes {
            for text in secrets + [receiver.url.reveal()] {
                let quote = AnswerQuote.quote(echo(text), hiding: secrets)
                #expect(!pieces.contains { quote.contains($0) }, "\(quote)")
                #expect(!quote.contains { $0.isNumber })
            }
        }
    }

    @Test func `A9: has no digits and no word from outside the list`() {
        var random = Seeded(9)
        for _ in 0..<500 {
            let text = String(decoding: (0..<200).map { _ in UInt8.random(in: 0x20..<0x7F, using: &random) }, as: UTF8.self)
            let quote = AnswerQuote.quote(text, hiding: [])
            #expect(quote.split(separator: " ").allSatisfy { $0 == "…" || $0.utf8.count < 16 && $0.allSatisfy(\.isLetter) })
        }
    }
}
