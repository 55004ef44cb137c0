import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// What becomes of callers when more come than the pool can serve: a real server, and arrivals that do not wait for answers.
///
/// Four connections and statements of 20 ms: about 190 callers each second. Where a time is measured the best of three rounds counts.
@Suite("Overload")
struct OverloadTests {
    private static let budget = Duration.milliseconds(500)
    private static let work: SQL = "SELECT pg_sleep(0.02)"

    /// One server for all tests of the suite: each has a pool of its own.
    private static let shared = SharedServer()

    private func withSmallPool(_ body: @Sendable (Database) async throws -> Void) async throws {
        let server = try await Self.shared.get()
        try await withPool(PoolConfiguration(max: 4, min: 4, deadline: Self.budget), server.endpoint) { database in
            try await database.untilIdle(4)
            try await body(database)
        }
    }

    /// Callers that the pool serves each second, when each asks again as soon as it has been answered.
    private func capacity(_ database: Database) async throws -> Double {
        let took = try await timed {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask { for _ in 0..<20 { _ = try await database.query(Self.work, for: "capacity") } }
                }
                try await group.waitForAll()
            }
        }
        return 80 / took.seconds
    }

    /// - Parameter look: called when each begins, with when it was meant to.
    private func visits(
        _ loop: OpenLoop, _ database: Database, _ workClass: WorkClass = .interactive, look: @escaping @Sendable (Duration) -> Void = { _ in }
    ) async throws -> Visits {
        let visits = Mutex(Visits())
        try await loop.run { start, intended in
            look(intended - start)
            let visit = await Visit.run(database, Self.work, workClass, within: Self.budget, start: start, intended: intended)
            visits.withLock { $0.all.append(visit) }
        }
        return visits.withLock { $0 }
    }

    /// What `round` says against itself; nothing when it found nothing. The best of three counts.
    private func bestOfThree(_ round: () async throws -> [String]) async throws -> [String] {
        var complaints: [String] = []
        for _ in 0..<3 {
            complaints = try await round()
            if complaints.isEmpty { break }
            print("overload:", complaints.joined(separator: "; "))
        }
        return complaints
    }

    @Test func `O1: at up to ten times its capacity the pool does as much good as ever, and says no at once`() async throws {
        try await withSmallPool { database in
            let complaints = try await bestOfThree {
                let capacity = try await capacity(database)
                var steps: [(multiple: Double, goodput: Double, visits: Visits)] = []
                for multiple in [1.0, 2, 4, 10] {
                    let visits = try await visits(OpenLoop(everySecond: capacity * multiple, for: .milliseconds(1_200)), database)
                    let goodput = visits.goodput(.milliseconds(300)..<(.milliseconds(1_200)), within: Self.budget)
                    print("O1: \(multiple)x of \(Int(capacity))/s: goodput \(Int(goodput))/s; \(visits.figures)")
                    steps.append((multiple, goodput, visits))
                }
                let peak = steps.map(\.goodput).max() ?? 0
                var found: [String] = []
                for (multiple, goodput, visits) in steps {
                    if goodput < 0.9 * peak { found.append("goodput \(Int(goodput)) of \(Int(peak))/s at \(multiple)x") }
                    if !visits.others.isEmpty { found.append("\(visits.others.prefix(3)) at \(multiple)x") }
                    let slowest = visits.served.map(\.took).quantile(0.99)
                    if slowest > Self.budget { found.append("served p99 \(slowest.text) at \(multiple)x") }
                    if visits.refused.count > 20, case let told = visits.refused.map(\.decided).quantile(0.99), told >= .milliseconds(5) {
                        found.append("refusals told in \(told.text) at \(multiple)x")
                    }
                    // Let in, and turned out after all.
                    if (visits.expired + visits.late) * 50 > visits.all.count {
                        found.append("\(visits.expired) expired and \(visits.late) late of \(visits.all.count) at \(multiple)x")
                    }
                }
                return found
            }
            #expect(complaints == [])
        }
    }

    @Test func `O2: no statement is sent for a caller whose deadline has passed`() async throws {
        try await withSmallPool { database in
            try await database.withConnection(for: "setup") { try await $0.script("CREATE SEQUENCE sent; CREATE SEQUENCE sent_late") }
            // The control: one that is sent late on purpose is seen to be late, also when it is cancelled in its sleep; one in time is not.
            let now = SystemTime().wallNow()
            _ = try await database.query(Self.noting(now + .seconds(10)), for: "in time")
            #expect(try await counts(database) == [1, 0])
            _ = try? await database.query(Self.noting(now + .seconds(-1), sleep: 30), for: "late on purpose", within: .milliseconds(100))
            #expect(try await counts(database) == [2, 1])
            let capacity = try await capacity(database)
            let complaints = try await bestOfThree {
                let before = try await counts(database)
                let loop = OpenLoop(poissonEverySecond: capacity * 4, for: .seconds(1), seed: 2)
                try await loop.run { start, intended in
                    // Some have little time, some have plenty.
                    let budget = Duration.milliseconds(20 + intended.nanoseconds / 1_000 % 480)
                    let end = SystemTime().wallNow() + (intended + budget - .now())
                    _ = await Visit.run(database, Self.noting(end), within: budget, start: start, intended: intended)
                }
                let now = try await counts(database)
                let (sent, late) = (now[0] - before[0], now[1] - before[1])
                print("O2: \(sent) sent, \(late) late")
                return (late > 0 ? ["\(late) statements were sent late"] : []) + (sent < 50 ? ["only \(sent) were sent"] : [])
            }
            #expect(complaints == [])
        }
    }

    /// Notes that it was sent, and whether after `end`, before it sleeps: a sequence keeps what it counted when the statement is cancelled.
    private static func noting(_ end: WallTime, sleep: Double = 0.02) -> SQL {
        """
        SELECT nextval('sent'), CASE WHEN statement_timestamp() > \(end)::timestamptz + interval '10 ms' THEN nextval('sent_late') END,
               pg_sleep(\(sleep)::float8)
        """
    }

    /// How many statements noted that they were sent, and that they were sent late.
    private func counts(_ database: Database) async throws -> [Int] {
        var counts: [Int] = []
        for sequence in ["sent", "sent_late"] {
            let rows = try await database.query(
                "SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS n FROM \(unescaped: sequence)", for: "count", within: .seconds(2))
            counts.append(try rows.first?.int("n") ?? 0)
        }
        return counts
    }

    @Test(arguments: [WorkClass.background, .interactive])
    func `O3: the critical class is served in a flood of others`(flood: WorkClass) async throws {
        try await withSmallPool { database in
            let capacity = try await capacity(database)
            let complaints = try await bestOfThree {
                let critical = Mutex(Visits())
                async let others = visits(OpenLoop(poissonEverySecond: capacity * 10, for: .milliseconds(1_200), seed: 3), database, flood)
                try await OpenLoop(everySecond: 100, for: .milliseconds(1_200)).run { start, intended in
                    let visit = await Visit.run(database, "SELECT 1", .critical, within: Self.budget, start: start, intended: intended)
                    critical.withLock { $0.all.append(visit) }
                }
                let (visits, flooded) = (critical.withLock { $0 }, try await others)
                print("O3: critical: \(visits.figures); \(flood): \(flooded.figures)")
                let slowest = visits.served.map(\.took).quantile(0.99)
                return (visits.served.count < visits.all.count ? ["\(visits.all.count - visits.served.count) critical callers were not served"] : [])
                    + (slowest >= .milliseconds(50) ? ["critical p99 \(slowest.text)"] : [])
            }
            #expect(complaints == [])
        }
    }

    @Test func `O4: two seconds after a burst all is as before`() async throws {
        try await withSmallPool { database in
            let capacity = try await capacity(database)
            let complaints = try await bestOfThree {
                let (burst, calm) = (Duration.milliseconds(600), Duration.milliseconds(10_600))
                let loop =
                    OpenLoop(poissonEverySecond: capacity / 2, for: burst, seed: 4)
                    + (OpenLoop(poissonEverySecond: capacity * 10, for: calm - burst, seed: 5), after: burst)
                    + (OpenLoop(poissonEverySecond: capacity / 2, for: .milliseconds(2_800), seed: 6), after: calm)
                // The queue as each finds it who comes after the burst.
                let found = Mutex<[(at: Duration, waiting: Int)]>([])
                let visits = try await visits(loop, database) { at in
                    if at >= calm { found.withLock { $0.append((at - calm, database.pool.statistics().waiting)) } }
                }
                let emptyAfter = found.withLock { $0.first { $0.waiting == 0 }?.at }
                let (before, during) = (visits[.zero..<burst], visits[burst..<calm])
                let after = visits[(calm + .seconds(2))..<(calm + .seconds(2.8))]
                print("O4: the queue was empty \(emptyAfter?.text ?? "-") after the burst")
                print("O4: before: \(before.figures); during: \(during.figures); after: \(after.figures)")
                let (normal, then) = (before.served.map(\.took).quantile(0.95), after.served.map(\.took).quantile(0.95))
                var complaints: [String] = []
                if emptyAfter ?? .seconds(60) > .seconds(2) { complaints.append("callers waited without a break for \(emptyAfter?.text ?? "all the time")") }
                if then > normal * 1.5 + .milliseconds(10) { complaints.append("p95 \(then.text), before the burst \(normal.text)") }
                if after.served.count < after.all.count { complaints.append("\(after.all.count - after.served.count) are still turned away") }
                let statistics = database.pool.statistics()
                if statistics.waiting > 0 || statistics.isOverloaded { complaints.append("\(statistics.waiting) still wait, overloaded: \(statistics.isOverloaded)") }
                return complaints
            }
            #expect(complaints == [])
        }
    }

    @Test(arguments: [2.0, 10])
    func `O5: whoever is refused is told the wait that those let in really had`(multiple: Double) async throws {
        try await withSmallPool { database in
            let capacity = try await capacity(database)
            let complaints = try await bestOfThree {
                let visits = try await visits(OpenLoop(poissonEverySecond: capacity * multiple, for: .milliseconds(1_600), seed: 7), database)
                let then = visits[.milliseconds(750)..<(.milliseconds(1_600))]
                guard !then.retries.isEmpty, !then.waits.isEmpty else { return ["nobody was refused, or nobody served"] }
                let (told, real) = (then.retries.quantile(0.5), then.waits.quantile(0.5))
                print("O5: \(multiple)x: told \(told.text), real \(real.text); \(visits.figures)")
                return told > real * 1.5 || told < real * 0.5 ? ["told \(told.text), real \(real.text)"] : []
            }
            #expect(complaints == [])
        }
    }
}
