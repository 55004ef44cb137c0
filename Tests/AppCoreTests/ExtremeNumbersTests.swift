import TestServers
import Testing
import Vitals

@testable import AppCore

/// Numbers that are as large as whoever sends or stores them likes. None ends the program.
@Suite("Extreme numbers")
struct ExtremeNumbersTests {
    private static func zeros(_ count: Int) -> String { String(repeating: "0", count: count) }

    /// Numbers as they are written, and whether they are kept.
    static let tokens: [(String, Bool)] = [
        ("0e-9223372036854775808", false), ("0e9223372036854775807", false), ("-0E+9223372036854775808", false),
        ("1e-9223372036854775808", false), ("1e9223372036854775808", false), ("0e-\(zeros(30))1", true), ("0e\(String(repeating: "9", count: 400))", false),
        ("0e-16383", true), ("0e-16384", false), ("0e1000000", true), ("0e1000001", false), ("0.\(zeros(16_383))", true),
        ("0.\(zeros(16_384))", false), ("1.\(zeros(16_383))", true), ("1.\(zeros(16_384))", false), ("0.\(zeros(16_384))e1", true),
        ("1e-400", false), ("5e-324", true), ("1e308", true), ("1\(zeros(400))e-400", true), ("1\(zeros(400))", false),
    ]

    @Test("an exponent may have any length: the number is kept, or refused by its field")
    func exponents() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            for (token, isKept) in Self.tokens {
                let name = token.count > 60 ? "\(token.prefix(4))…\(token.suffix(4)), \(token.count) characters" : token
                #expect((JSONValue(text: token) != nil) == isKept, "\(name)")
                let body = #"{"type":"n","payload":{"n":\#(token)}}"#
                do {
                    // What is not refused here, the table has room for.
                    try await application.addSnapshot(body, to: workspace.id)
                    #expect(isKept, "\(name)")
                } catch let problem as RequestProblem {
                    #expect(!isKept, "\(name): \(problem)")
                    #expect("\(problem)".hasPrefix("payload has a number that "), "\(name): \(problem)")
                }
            }
        }
    }

    @Test("J2: closes that no number lies between leave an overview without their changes, and nothing else")
    func farApart() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            try await application.database.execute(
                """
                INSERT INTO market_snapshots (ticker, snapshot_date, open, high, low, close, volume)
                SELECT 'ACME', '2026-01-01'::date + n, 1, 2, 1, CASE WHEN n % 2 = 0 THEN 1e-300 ELSE 1e300 END, 1 FROM generate_series(1, 25) n
                """, for: "test")
            let overview = String(decoding: try await application.workspaces.overview(workspace.id).bytes, as: UTF8.self)
            let market = try #require(JSONValue(text: overview)?["market"], "\(overview)")
            #expect(market["close"] == 1e300 && market["days"] == 25)
            for name in ["dayChange", "monthChange", "volatility"] { #expect(market[name]?.doubleValue?.isFinite ?? true, "\(market)") }
            #expect(market["dayChange"] == nil && market["volatility"] == nil, "\(market)")
        }
    }

    @Test("tasks that have waited since 1970, or since the year 1, are run like any other")
    func longWaits() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            try await application.database.execute(
                """
                INSERT INTO agent_tasks (workspace_id, type, state, queued_at)
                SELECT 1 + n % 3, 'risk-assessment', 'queued', CASE n WHEN 0 THEN '0001-01-01 00:00:00+00' ELSE to_timestamp(0) END
                FROM generate_series(0, 6) n
                """, for: "test")
            try await application.working {
                try await until("all are completed") {
                    let row = try await application.database.query(
                        "SELECT count(*) AS n FROM agent_tasks WHERE state = 'completed'", for: "test").first
                    return try row?.int("n") == 7
                }
            }
            let waits = application.worker.statistics().queue
            #expect(waits.count == 7 && waits.sum > 9e9)
        }
    }
}
