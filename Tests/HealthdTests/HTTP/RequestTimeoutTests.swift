@testable import AppCore
import HTTPTypes
import Hummingbird
import NIOHTTP1
import Testing
import Vitals

@testable import healthd

@Suite struct `A client's own deadline` {
    @Test(arguments: [("2", 2.0), ("0.5", 0.5), ("1e9", 86_400), ("0", nil), ("-1", nil), ("soon", nil), ("", nil), ("nan", nil), ("inf", nil), ("2s", nil)])
    func `a client's time is seconds, or a mistake`(text: String, seconds: Double?) throws {
        guard let seconds else {
            #expect(throws: RequestProblem.self) { try RequestTimeout.parse(text) }
            return
        }
        #expect(try RequestTimeout.parse(text).seconds == seconds)
    }

    @Test(arguments: [(nil, 2.0...3.0), ("1", 0.0...1.0), ("0.25", 0.0...0.25), ("60", 2.0...3.0)] as [(String?, ClosedRange<Double>)])
    func `Request-Timeout shortens what a route allows, and never lengthens it`(header: String?, left: ClosedRange<Double>) async throws {
        try await `HTTP server`.serve { routes in
            routes.on(.get, "/left", as: "left", class: .critical, within: .seconds(3)) { _, _ in
                .text("\(Deadline.current?.remaining(at: .now()).seconds ?? -1) \(Work.workClass) \(RequestTimeout.shortensRoute)")
            }
        } _: { server in
            let answer = try await server.send(.GET, "/left", header.map { [("request-timeout", $0)] } ?? [])
            let words = answer.body.split(separator: " ")
            #expect(left.contains(Double(words[0]) ?? -1), "\(answer.body)")
            #expect(words[1] == "critical")
            #expect(words[2] == (left.upperBound < 3 ? "true" : "false"))
            let wrong = try await server.send(.GET, "/left", [("request-timeout", "soon")])
            #expect(wrong.status == 400 && wrong.body.contains("Request-Timeout is"))
        }
    }
}
