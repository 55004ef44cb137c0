import Testing

@testable import AppCore

struct `JSON bodies` {
    private struct Part: Decodable, Equatable {
        enum Colour: String, Decodable, CaseIterable { case red, blue }

        var size: Int8
        var share: Double?
        var colour: Colour?
        var tags: [String: Bool]?
    }

    private struct Whole: Decodable, Equatable {
        var name: String
        var parts: [Part]
        var any: JSONValue?
        var weight: Float?
    }

    private func read(_ json: String) throws -> Whole { try RequestProblem.decode(Whole.self, from: json.utf8) }

    @Test func `a document is read into a type, in whatever order, and what nobody asks for is left alone`() throws {
        let whole = try read(
            #"""
            {"extra":[null,{}],"weight":2,"any":{"n":7.0,"m":7,"d":[1,[2]]},
             "parts":[{"size":-128,"share":1,"colour":"blue","tags":{"a":true}},{"size":2.0,"share":null}],"name":"é\n"}
            """#)
        #expect(whole.name == "é\n" && whole.weight == 2)
        #expect(whole.any == ["n": 7.0, "m": 7, "d": [1, [2]]])
        #expect(whole.parts == [Part(size: -128, share: 1, colour: .blue, tags: ["a": true]), Part(size: 2)])
    }

    @Test func `a byte order mark at the start is passed over`() throws {
        #expect(try read("\u{FEFF}" + #"{"name":"a","parts":[]}"#).name == "a")
    }

    static let misfits: [(json: String, problem: String)] = [
        (#"{"parts":[]}"#, "name is missing"), (#"{"name":null,"parts":[]}"#, "name is null; expected a string"),
        (#"{"name":1,"parts":[]}"#, "name has the wrong type; expected a string"), (#"{"name":"a","parts":{}}"#, "parts has the wrong type; expected a list"),
        (#"{"name":"a","parts":[1]}"#, "parts[0] has the wrong type; expected an object"),
        (#"{"name":"a","parts":[{"size":1},{"size":1.5}]}"#, "parts[1].size has the wrong type; expected a whole number"),
        (#"{"name":"a","parts":[{"size":128}]}"#, "parts[0].size has the wrong type; expected a whole number"),
        (#"{"name":"a","parts":[{"size":1,"tags":{"b":1}}]}"#, "parts[0].tags.b has the wrong type; expected true or false"),
        (#"{"name":"a","parts":[{"size":1,"share":"1"}]}"#, "parts[0].share has the wrong type; expected a number"),
        (#"{"name":"a","parts":[{"size":1,"colour":"green"}]}"#, #"parts[0].colour is "green"; expected one of red, blue"#),
        (#"{"name":"a","parts":[{"size":1,"colour":1}]}"#, "parts[0].colour has the wrong type; expected a string"),
        (#"{"name":"a","parts":[],"any":[1e999]}"#, "any has a number that is too large to be kept"),
        (#"{"name":"a","parts":[],"any":0e-9223372036854775808}"#, "any has a number that has more than 38 digits, or too great an exponent"),
        (#"{"name":"a","parts":[{"size":0e-9223372036854775808}]}"#, "parts[0].size has the wrong type; expected a whole number"),
        (#"{"name":1e999,"parts":[]}"#, "name has the wrong type; expected a string"),
        ("[]", "body has the wrong type; expected an object"), ("7", "body has the wrong type; expected an object"),
        ("{", "body is not valid JSON, or nests deeper than 64"), (#"{"name":"\ud800","parts":[]}"#, "body is not valid JSON, or nests deeper than 64"),
        (
            #"{"name":"a","parts":[],"any":"# + String(repeating: "[", count: 64) + String(repeating: "]", count: 64) + "}",
            "body is not valid JSON, or nests deeper than 64"
        ),
    ]

    @Test(arguments: misfits)
    func `what does not fit is named with its place`(json: String, problem: String) {
        do {
            _ = try read(json)
            Issue.record("was read: \(json)")
        } catch {
            #expect("\(error)" == problem)
        }
    }

    @Test(
        "J3: a payload that is only passed on is looked at, and not read",
        arguments: [
            (#"{"type":"a","payload":{"b": [1, 2.50, "é\u0041"],"a":null}}"#, #"{"b": [1, 2.50, "é\u0041"],"a":null}"#),
            (#" { "payload" : 7 , "type" : "a" , "more" : [ { } ] } "#, "7"), (#"{"payload":null,"type":"a"}"#, "null"),
            (#"{"payload":1,"type":"a","payload":[ 2 ]}"#, "[ 2 ]"), (#"{"type":"a","payload":{"payload":{"type":1}}}"#, #"{"payload":{"type":1}}"#),
        ])
    func unreadPayload(body: String, payload: String) throws {
        let sent = try SentDataSnapshot(body: body.utf8)
        #expect(sent.type == "a" && sent.payload.text == payload)
    }

    @Test(
        "J3: what is wrong with it is said as of any other field",
        arguments: [
            (#"{"type":"a"}"#, "payload is missing"), (#"{"payload":1}"#, "type is missing"), (#"{"payload":1,"type":2}"#, "type has the wrong type; expected a string"),
            (#"{"type":"a","payload":["\u0000"]}"#, "payload contains a NUL character"), (#"{"type":"a","payload":{"\u0000":1}}"#, "payload contains a NUL character"),
            (#"{"type":"a","payload":[1e999]}"#, "payload has a number that is too large to be kept"), (#"{"type":"a","payload":[1,]}"#, "body is not valid JSON, or nests deeper than 64"),
            (#"{"type":"a","payload":{"a":tru}}"#, "body is not valid JSON, or nests deeper than 64"), (#"[1]"#, "body has the wrong type; expected an object"),
            (#"{"type":"","payload":1}"#, "type is empty"),
        ])
    func faultOfPayload(body: String, says: String) {
        do throws(RequestProblem) {
            _ = try SentDataSnapshot(body: body.utf8)
            Issue.record("\(body) was taken")
        } catch {
            #expect("\(error)" == says)
        }
    }

    @Test("J3: a body has a bounded number of values, wherever they stand, but for what is only passed on")
    func manyValues() throws {
        let many = "[" + String(repeating: "{},", count: 40_000) + "0]"
        #expect(throws: RequestProblem.invalid(field: "body", reason: "has more than 40000 values")) {
            try RequestProblem.decode(NewWorkspace.self, from: #"{"name":"a","ticker":"ACME","more":\#(many)}"#.utf8)
        }
        #expect(try SentDataSnapshot(body: #"{"type":"a","payload":\#(many)}"#.utf8).payload.text == many)
        #expect(JSONValue(text: many) != nil)
    }
}
