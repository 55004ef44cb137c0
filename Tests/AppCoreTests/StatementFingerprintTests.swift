import TestServers
import Testing
import Vitals

@testable import AppCore

/// A statement without its constants, as logs, pages and alerts show it.
@Suite("Statement fingerprints")
struct StatementFingerprintTests {
    @Test(arguments: [
        ("SELECT  pg_sleep(3)", "SELECT pg_sleep(?)"),
        (" SELECT 'it''s', \"it's\", 'x' FROM t\n", "SELECT ?, \"it's\", ? FROM t"),
        (#"SELECT E'it\'s canary', e'\\', 1"#, "SELECT ?, ?, ?"),
        (#"SELECT 'a\', canary, '\'"#, "SELECT ?, canary, ?"),
        (#"SELECT U&'\0061 canary' UESCAPE '!', u&"d\0061ta" FROM t"#, #"SELECT ? UESCAPE ?, u&"d\0061ta" FROM t"#),
        ("SELECT $$it's canary$$, $a$ $$ canary $b$ $a$, $1, $12::int", "SELECT ?, ?, $1, $12::int"),
        ("SELECT 1.5e-3, .5, 5., 1e10, 0x1F+2, 1_000, -7", "SELECT ?, ?, ?, ?, ?+?, ?, -?"),
        ("SELECT B'101', X'FF', N'canary', t1.c2, a$b$c FROM t1", "SELECT ?, ?, ?, t1.c2, a$b$c FROM t1"),
        ("SELECT 1 -- it's canary\n, 2 /* it's /* a canary */ ' */ FROM t", "SELECT ? , ? FROM t"),
        ("SELECT DATE'2026-01-01', a[1:2], b - -1", "SELECT DATE?, a[?:?], b - -?"),
        // A literal that goes on in another line, by its own rules.
        ("SELECT 'it' \n\t 's', 2", "SELECT ?, ?"), ("SELECT E'a'\n'it\\'s canary'", "SELECT ?"), ("SELECT 'a'\n'b\\', canary, 'c'", "SELECT ?, canary, ?"),
        ("SELECT e'a' -- canary's\n -- 'canary'\r\n '\\'canary', 1", "SELECT ?, ?"), ("SELECT U&'a'\n'canary' UESCAPE '!'", "SELECT ? UESCAPE ?"),
        ("SELECT E'a' '\\'", "SELECT ? ?"), ("SELECT E'a'\n/* x */ '\\'", "SELECT ? ?"), ("SELECT E'a'\n, '\\'", "SELECT ? , ?"),
        ("SELECT E'a'\n", "SELECT ?"), ("SELECT E'a'\n-- canary", "SELECT ?"), ("SELECT E'a'\nE'\\'canary'", "SELECT ? ?"),
        // What does not end.
        ("SELECT 'canary", "SELECT ?"), ("SELECT $$canary", "SELECT ?"), ("SELECT 1 /* canary", "SELECT ?"), ("SELECT \"t", "SELECT \"t"),
        (#"SELECT E'canary\"#, "SELECT ?"), ("SELECT $", "SELECT $"), ("", ""), ("  ", ""),
        // The rows of a dump.
        ("COPY t (a) FROM stdin;\n1\tcanary\n\\.\n", "COPY t (a) FROM stdin; …"),
    ])
    func `D9: a statement is shown without its constants`(statement: String, text: String) {
        #expect(StatementFingerprint(statement).text == text)
    }

    @Test func `D9: no constant of a statement is in its fingerprint, whatever PostgreSQL takes for one`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(60)), server.endpoint) { database in
            try await database.withConnection(for: "fuzz") { lease in
                var generator = SplitMix64(seed: 9)
                for _ in 0..<400 {
                    let made = Statement(using: &generator)
                    // What the server does not take for this many constants would prove nothing.
                    let row = try #require(try await lease.query(SQL(unescaped: made.text)).first)
                    for column in 0..<made.count { _ = try row.string("c\(column)") }
                    let found = StatementFingerprint(made.text)
                    #expect(!found.text.contains("canary") && !found.text.contains("707"), "\(made.text)")
                    #expect(found.mark == StatementFingerprint(made.skeleton).mark, "\(made.text)\n\(made.skeleton)")
                }
            }
        }
    }

    /// A statement of constants that all have a canary in them, and the same with others in their places.
    private struct Statement {
        var text = "SELECT "
        var skeleton = "SELECT "
        let count: Int

        init(using generator: inout SplitMix64) {
            count = 1 + generator.index(below: 6)
            for column in 0..<count {
                let separator = column == 0 ? "" : ","
                let remark = Self.remark(&generator)
                text += "\(separator)\(remark)\(Self.constant(&generator)) AS c\(column)"
                skeleton += "\(separator) 'x' AS c\(column)"
            }
            let rest = #" FROM (SELECT $$x$$ AS "it's $$ a -- ""name""") AS "E'"#
            text += rest + "\""
            skeleton += rest + "\""
        }

        private static func remark(_ generator: inout SplitMix64) -> String {
            [" ", "\n\t", "/* canary's */", " -- canary's $$\n", "/* /* ' */ canary \" */ "][generator.index(below: 5)]
        }

        private static func constant(_ generator: inout SplitMix64) -> String {
            let (constant, part) = firstPart(&generator)
            guard let part, generator.index(below: 3) == 0 else { return constant }
            let ends = ["\n", " \r\n\t", " -- canary's $$ \n", "\n-- 'canary' \\\n  "]
            return constant + ends[generator.index(below: ends.count)] + part
        }

        /// And what may stand in its next line.
        private static func firstPart(_ generator: inout SplitMix64) -> (String, next: String?) {
            func literal(_ begin: String, quote: String, backslash: String, dollars: String) -> (String, next: String?) {
                let first = "\(begin)'" + junk(&generator, quote: quote, backslash: backslash, dollars: dollars) + "'"
                return (first, "'" + junk(&generator, quote: quote, backslash: backslash, dollars: dollars) + "'")
            }
            switch generator.index(below: 9) {
            case 0: return literal("", quote: "''", backslash: #"\"#, dollars: "$$")
            case 1: return literal("E", quote: #"\'"#, backslash: #"\\"#, dollars: "$$")
            case 2: return literal("e", quote: "''", backslash: #"\\"#, dollars: "$1")
            case 3: return literal("U&", quote: "''", backslash: #"\\"#, dollars: "$$")
            case 4: return literal("N", quote: "''", backslash: #"\"#, dollars: "$$")
            case 5: return ("$$" + junk(&generator, quote: "'", backslash: #"\"#, dollars: "$ $ ") + "$$", nil)
            case 6: return ("$é_1$" + junk(&generator, quote: "'", backslash: #"\"#, dollars: "$$ $é$") + "$é_1$", nil)
            case 7: return (["X'707'", "B'0101'", "x'70707'"][generator.index(below: 3)], nil)
            default: return (["707", "707.25", ".707", "707.", "707e3", "7.07707E+5", "707e-2", "0.707e0"][generator.index(below: 8)], nil)
            }
        }

        private static func junk(_ generator: inout SplitMix64, quote: String, backslash: String, dollars: String) -> String {
            let pieces = ["canary", quote, backslash, dollars, "\"", "--", "/*", "*/", ";", "\n", "é", " E", "707", " $1 ", "(", "COPY x FROM stdin;"]
            var text = "canary"
            for _ in 0..<generator.index(below: 8) { text += pieces[generator.index(below: pieces.count)] }
            // No dollar before the closing mark, and nothing half escaped.
            return text + "canary"
        }
    }

    @Test(arguments: [false, true])
    func `D9: an error of the server's says what is wrong, and not with which value`(german: Bool) async throws {
        let server = try await TestPostgres.start(german: german)
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(60)), server.endpoint) { database in
            try await database.withConnection(for: "wrong") { lease in
                let statements: [SQL] = [
                    "SELECT 'canary'::int", "SELECT 'ca\"canary\"ry'::int", "SELECT \("canary")::timestamptz", "SELECT '2026-01-01 canary'::date",
                    "SELECT '99999999999canary'::int", "SELECT '99999999999'::int", "SELECT 'canary", "SELECT 'canary' 'canary'", "SELECT $$canary",
                    "SELECT 99canary", "SELECT FROM FROM 'canary'", "SELECT to_timestamp('canary', 'YYYY')", "SELECT '{canary'::int[]",
                    "SET TimeZone = 'canary'", "SELECT 'canary'::uuid", "SELECT 'canary'::jsonb", "SELECT decode('canary', 'hex')",
                ]
                for statement in statements {
                    let error = await lease.failure(of: statement)
                    let said = "\(error.map { "\($0)" } ?? "")"
                    #expect(!said.contains("canary") && !said.contains("99999999999"), "\(statement.text): \(said)")
                    #expect(said.contains("SQLSTATE"))
                }
                // Names are no values.
                let missing = await lease.failure(of: "SELECT column_that_is_missing")
                #expect("\(String(describing: missing))".contains("column_that_is_missing"))
            }
        }
    }
}
