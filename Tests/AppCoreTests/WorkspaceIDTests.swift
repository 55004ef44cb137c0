import FoundationEssentials
import Testing

@testable import AppCore

struct `Workspace numbers` {
    private struct Body: Codable {
        var workspaceID: Workspace.ID

        enum CodingKeys: String, CodingKey { case workspaceID = "workspaceId" }
    }

    static let good: [(text: String, number: Int)] = [
        ("1", 1), ("7", 7), ("10", 10), ("9007199254740993", 9_007_199_254_740_993), ("9223372036854775806", .max - 1), ("9223372036854775807", .max),
    ]

    @Test(arguments: good)
    func `decimal digits are read, and written as they were`(text: String, number: Int) throws {
        let id = try #require(Workspace.ID(text))
        #expect(id.rawValue == number)
        #expect(id == Workspace.ID(rawValue: number))
        #expect(try Workspace.ID(text, field: "workspace id") == id)
        #expect("\(id)" == text && id.sqlText == text)
    }

    static let badTexts = [
        "", "0", "00", "01", "-1", "-0", "+1", " 1", "1 ", "1\n", "1.0", "1.", "1e3", "1_000", "1,000", "0x1", "१", "１", "1\u{0}", "one", "null", "true",
        "9223372036854775808", "18446744073709551617", "100000000000000000000000000000", "0b9c0000-0000-4000-8000-00000000000a",
    ]

    @Test(arguments: badTexts)
    func `any other text is refused by its field`(text: String) throws {
        #expect(Workspace.ID(text) == nil)
        do throws(RequestProblem) {
            _ = try Workspace.ID(text, field: "workspace id")
            Issue.record("was read: \(text)")
        } catch {
            #expect("\(error)".hasPrefix("workspace id is \""), "\(error)")
            #expect("\(error)".hasSuffix("expected a whole number from 1 to 9223372036854775807, in decimal digits"), "\(error)")
        }
    }

    @Test(arguments: [0, -1, .min])
    func `no number below 1 is one`(number: Int) {
        #expect(Workspace.ID(rawValue: number) == nil)
    }

    @Test(arguments: good)
    func `JSON has a number, and both a number and its digits are read`(text: String, number: Int) throws {
        let id = try #require(Workspace.ID(rawValue: number))
        let encoded = try String(decoding: JSONEncoder().encode(Body(workspaceID: id)), as: UTF8.self)
        #expect(encoded == #"{"workspaceId":\#(text)}"#)
        for body in [encoded, #"{"workspaceId":"\#(text)"}"#, #"{ "workspaceId" : \#(text) }"#] {
            #expect(try RequestProblem.decode(Body.self, from: body.utf8).workspaceID == id)
            // The cache's way.
            #expect(try JSONDecoder().decode(Body.self, from: Data(body.utf8)).workspaceID == id)
        }
    }

    static let badValues: [(json: String, fault: String)] = [
        ("null", "is null"), ("true", "is true"), ("false", "is false"), ("0", "is 0"), ("-1", "is -1"), ("-0", "is 0"),
        ("1.0", "has a point or an exponent"), ("1.5", "has a point or an exponent"), ("1e3", "has a point or an exponent"),
        ("1E0", "has a point or an exponent"), ("1.0000000000000001", "has a point or an exponent"), ("-1.5", "is negative"),
        ("9223372036854775808", "is too large"), ("18446744073709551617", "is too large"), ("1e300", "is too large"),
        ("1e999", "is too large"), ("1" + String(repeating: "0", count: 400), "is too large"),
        ("-9223372036854775809", "is negative"), ("[1]", "is a list"), ("{}", "is an object"), (#"{"id":1}"#, "is an object"),
        (#""""#, #"is """#), (#""0""#, #"is "0""#), (#""01""#, #"is "01""#), (#""1.0""#, #"is "1.0""#), (#"" 1""#, #"is " 1""#), (#""+1""#, #"is "+1""#),
        (#""9223372036854775808""#, #"is "9223372036854775808""#),
        (#""0b9c0000-0000-4000-8000-00000000000a""#, #"is "0b9c0000-0000-4000-8000-00000000000a""#),
    ]

    @Test(arguments: badValues)
    func `any other JSON is refused by its field, with what is wrong`(json: String, fault: String) throws {
        do throws(RequestProblem) {
            _ = try RequestProblem.decode(NewAgentTask.self, from: #"{"workspaceId":\#(json),"type":"thesis-validation","params":{}}"#.utf8)
            Issue.record("was read: \(json)")
        } catch {
            #expect("\(error)" == "workspaceId \(fault); expected a whole number from 1 to 9223372036854775807, in decimal digits")
        }
    }

    @Test func `one that is not there is missing`() throws {
        #expect(throws: RequestProblem.invalid(field: "workspaceId", reason: "is missing")) {
            try RequestProblem.decode(NewAgentTask.self, from: #"{"type":"thesis-validation"}"#.utf8)
        }
    }
}
