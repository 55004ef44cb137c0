import Testing

@testable import AppCore

/// Statements and their parameters.
@Suite("SQL")
struct SQLTests {
    @Test func `a fragment brings its parameters, numbered on from those before it`() {
        let condition: SQL = "a = \(1) AND b = \("two")"
        let statement: SQL = "SELECT \(0) FROM t WHERE \(fragment: condition) OR c = \(3)"
        #expect(statement.text == "SELECT $1 FROM t WHERE a = $2 AND b = $3 OR c = $4")
        #expect(statement.parameters == ["0", "1", "two", "3"])
        var long: SQL = "\(1)"
        for number in 2...12 { long = "\(fragment: long), \(number)" }
        let last: SQL = "\(0), \(fragment: long)"
        #expect(last.text == (1...13).map { "$\($0)" }.joined(separator: ", "))
    }

    @Test(arguments: [
        ("SELECT 1", .select), ("select\n1", .select), ("VALUES (1)", .select), ("TABLE t", .select), ("INSERT INTO t VALUES (1)", .insert),
        ("UPDATE t SET a = 1", .update), ("DELETE FROM t", .delete), ("WITH a AS (SELECT 1) SELECT FROM a", .with),
        ("WITH a AS (SELECT 1) UPDATE t SET b = 1 FROM a", .with), ("BEGIN", .transaction), ("COMMIT", .transaction), ("ROLLBACK", .transaction),
        ("SAVEPOINT s", .transaction), ("SELECTED", .other), ("CREATE TABLE t ()", .other), ("", .other),
    ] as [(String, SQL.Operation)])
    func `a statement is counted by its first word, and a WITH as neither a read nor a write`(text: String, operation: SQL.Operation) {
        #expect(SQL(unescaped: text).operation == operation)
    }

    @Test func `a fragment with another $ ends the program: it would be sent with the wrong parameters`() async {
        await #expect(processExitsWith: .failure) {
            let quoted: SQL = "a = $$text$$"
            let statement: SQL = "SELECT \(fragment: quoted)"
            _ = statement.text
        }
    }
}
