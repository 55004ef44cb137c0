import Testing

@testable import AppCore

/// What is told on of the server's own words.
@Suite("Quoted values")
struct QuotedValuesTests {
    @Test(arguments: [
        ("invalid input syntax for type integer: \"12a\"", "22P02", "invalid input syntax for type integer: ?"),
        ("ungültige Eingabesyntax für Typ integer: »12a«", "22P02", "ungültige Eingabesyntax für Typ integer: ?"),
        ("invalid input syntax for type integer: \"a\"b\"c\"", "22P02", "invalid input syntax for type integer: ?"),
        ("value \"300\" is out of range for type smallint", "22003", "value ? is out of range for type smallint"),
        ("could not open file \"/keys/a\" for reading", "58P01", "could not open file ? for reading"),
        ("malformed array literal: \"{", "22P02", "malformed array literal: ?"),
    ])
    func `a value that the server could not use is left out, in whatever language`(message: String, sqlState: String, told: String) {
        #expect(QuotedValues.left(outOf: message, sqlState: sqlState, position: nil) == told)
    }

    @Test func `of a text that is no SQL its place is told`() {
        let told = QuotedValues.left(outOf: "syntax error at or near \"secret\"", sqlState: "42601", position: "8")
        #expect(told == "syntax error at or near ? (at character 8)")
    }

    @Test(arguments: [
        ("relation \"tasks\" does not exist", "42P01"), ("duplicate key value violates unique constraint \"tasks_pkey\"", "23505"),
        ("division by zero", "22012"),
    ])
    func `names of tables, columns and the like stay`(message: String, sqlState: String) {
        #expect(QuotedValues.left(outOf: message, sqlState: sqlState, position: nil) == message)
    }
}
