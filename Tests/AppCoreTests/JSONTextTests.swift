import Testing

@testable import AppCore

struct `JSON text` {
    static let allowed: [(String, JSONValue)] = [
        ("null", JSONValue.null), ("true", true), ("-12", -12), ("0", 0), ("1.5", 1.5), ("1e3", 1_000.0), ("\"a\"", "a"),
        ("[]", []), ("{}", [:]), (" [ 1 , \"b\" , null ] ", [1, "b", nil]),
        (#"{"b":[{"c":"\u00e9\ud83d\ude00\n\"\\\/"}],"a":-0.5}"#, ["a": -0.5, "b": [["c": "é😀\n\"\\/"]]]),
    ]

    @Test(arguments: allowed)
    func `reads what RFC 8259 allows`(text: String, value: JSONValue) {
        #expect(JSONValue(text: text) == value)
    }

    @Test(arguments: [
        "", "nul", "01", "1.", ".5", "+1", "\"", "\"\\x\"", "\"\u{01}\"", "[1,]", "[1 2]", "{\"a\"}", "{a:1}", "{} {}", "\"\\ud83d\"",
        "\"\\ud83dx\"", "1e999", String(repeating: "[", count: 100) + String(repeating: "]", count: 100),
    ])
    func `refuses everything else`(text: String) {
        #expect(JSONValue(text: text) == nil)
    }

    @Test func `writes members in order and escapes what must be`() {
        let value: JSONValue = ["b": "x\"\\\n\r\t\u{01}é", "a": [1, 1.5, .number(.infinity), true, nil]]
        #expect(value.text == #"{"a":[1,1.5,null,true,null],"b":"x\"\\\n\r\t\u0001é"}"#)
        #expect(JSONValue(text: value.text)?["b"] == value["b"])
    }

    @Test func `a NUL is found wherever it hides`() {
        #expect((["a": [["b\0": 1]]] as JSONValue).containsNUL)
        #expect(!(["a": [["b": "0"]]] as JSONValue).containsNUL)
    }
}
