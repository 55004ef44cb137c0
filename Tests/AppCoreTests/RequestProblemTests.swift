import Testing

@testable import AppCore

struct `Request problems` {
    @Test(arguments: [
        (#"{"#, "body"), (#"[]"#, "body"), (#"{"ticker":"ACME"}"#, "name"), (#"{"name":1,"ticker":"ACME"}"#, "name"),
        (#"{"name":"a","ticker":"ACME","userId":"x"}"#, "userId"), (#"{"name":null,"ticker":"ACME"}"#, "name"),
    ])
    func `a body that does not fit is named by its field`(body: String, field: String) {
        do throws(RequestProblem) {
            _ = try RequestProblem.decode(NewWorkspace.self, from: Array(body.utf8))
            Issue.record("was decoded: \(body)")
        } catch {
            guard case .invalid(field, let reason) = error else {
                Issue.record("\(error) for \(body)")
                return
            }
            #expect(!reason.isEmpty)
        }
    }

    @Test(arguments: ["", "acme", "A B", "ABCDEFGHIJK", "1A", ".A", "Ä"])
    func `a ticker is capitals, digits, dots and dashes`(ticker: String) {
        #expect(throws: RequestProblem.self) { try Ticker.validate(ticker) }
        #expect(throws: Never.self) { try Ticker.validate("BRK.B-2") }
    }

    static let outOfRange: [(JSONValue, String)] = [
        (["days": 10] as JSONValue, "params.days"), (["days": 1.5], "params.days"), (["rounds": 0], "params.rounds"),
        (["interval": "5"], "params.interval"), (["interval": "2h"], "params.interval"), ([1], "params"), (["x": "\0"], "params"),
    ]

    @Test(arguments: outOfRange)
    func `task parameters out of range are named`(params: JSONValue, field: String) {
        do throws(RequestProblem) {
            _ = try TaskParameters(params)
            Issue.record("was accepted: \(params)")
        } catch {
            guard case .invalid(field, _) = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test func `members nobody asks for are left alone`() throws {
        let parameters = try TaskParameters(["rounds": 3, "interval": "250ms", "colour": "blue"])
        #expect(parameters.rounds == 3 && parameters.interval == .milliseconds(250) && parameters.days == 252)
    }

    @Test func `identifiers are UUIDs in lower case`() {
        var generator = SplitMix64(seed: 1)
        let id = WorkspaceUser.ID.random(using: &generator)
        #expect(WorkspaceUser.ID(rawValue: id.rawValue) == id)
        #expect(id.rawValue.split(separator: "-")[2].hasPrefix("4"))
        #expect(WorkspaceUser.ID(rawValue: "0B9C0000-0000-4000-8000-00000000000A")?.rawValue == "0b9c0000-0000-4000-8000-00000000000a")
        for text in ["", "0b9c", "0b9c0000-0000-4000-8000-00000000000g", "0b9c00000000-4000-8000-00000000000a-", "{0b9c0000-0000-4000-8000-000000000}"] {
            #expect(WorkspaceUser.ID(rawValue: text) == nil, "\(text)")
        }
    }
}
