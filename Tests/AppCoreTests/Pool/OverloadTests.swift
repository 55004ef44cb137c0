import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// What becomes of callers when more come than the pool can serve: a real server, and arrivals that do not wait for answers.
///
/// Four connections and statements of 20 ms: about 190 callers each second. What the machine does meanwhile is measured beside each run, and
/// the bounds are those of a calm one; the best of three rounds counts.
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

    /// A run of the loop, and what the machine did from its start on.
    private struct Run {
        var visits: Visits
        var start: MonotonicInstant
        var reference: Reference

        /// What a bound comes to in a part of the run.
        func allows(_ bound: Duration, share: Double, in part: Range<Duration>) -> Duration {
            reference[start + part.lowerBound..<start + part.upperBound].allows(bound, share: share)
        }
    }

    /// - Parameter look: called when each begins, with when it was meant to.
    private func run(
        _ loop: OpenLoop, _ database: Database, _ workClass: WorkClass = .interactive, look: @escaping @Sendable (Duration) -> Void = { _ in }
    ) async throws -> Run {
        let visits = Mutex(Visits())
        let (start, reference) = try await beside {
            try await loop.run { start, intended in
                look(intended - start)
                let visit = await Visit.run(database, Self.work, workClass, within: Self.budget, start: start, intended: intended)
                visits.withLock { $0.all.append(visit) }
            }
        }
        return Run(visits: visits.withLock { $0 }, start: start, reference: reference)
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
                var steps: [(multiple: Double, goodput: Double, run: Run)] = []
                for multiple in [1.0, 2, 4, 10] {
                    let run = try await run(OpenLoop(everySecond: capacity * multiple, for: .milliseconds(1_200)), database)
                    let goodput = run.visits.goodput(.milliseconds(300)..<(.milliseconds(1_200)), within: Self.budget)
                    print("O1: \(multiple)x of \(Int(capacity))/s: goodput \(Int(goodput))/s; \(run.visits.figures); \(run.reference.text)")
                    steps.append((multiple, goodput, run))
                }
                let peak = steps.map(\.goodput).max() ?? 0
                var found: [String] = []
                for (multiple, goodput, run) in steps {
                    let visits = run.visits
                    // Four connections do no more than this, as long as each use took here; who is next had to be woken, too.
                    let use = visits.uses.reduce(.zero, +) / max(1, visits.uses.count) + run.reference.lateness(0.5)
                    let possible = min(peak, 4 / use.seconds)
                    if goodput < 0.9 * possible { found.append("goodput \(Int(goodput)) of \(Int(possible))/s at \(multiple)x, peak \(Int(peak))/s") }
                    if !visits.others.isEmpty { found.append("\(visits.others.prefix(3)) at \(multiple)x") }
                    let slowest = visits.served.map(\.took).quantile(0.99)
                    if slowest > Self.budget + run.reference.lateness(0.99) { found.append("served p99 \(slowest.text) at \(multiple)x") }
                    if visits.refused.count > 20 {
                        let told = visits.refused.map(\.decided).quantile(0.99)
                        let allowed = run.reference.allows(.milliseconds(5), share: 0.99)
                        if told >= allowed { found.append("refusals told in \(told.text) of \(allowed.text) at \(multiple)x") }
                    }
                    // Let in, and turned out after all.
                    if Double(visits.expired + visits.late) * 50 > Double(visits.all.count) * run.reference.slowdown {
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
            let sequences = (0...Self.latest).map { "CREATE SEQUENCE sent_\($0)" }.joined(separator: "; ")
            try await database.withConnection(for: "setup") { try await $0.script(sequences) }
            // The control: one that is sent late on purpose is seen to be late, also when it is cancelled in its sleep; one in time is not.
            let now = SystemTime().wallNow()
            _ = try await database.query(Self.noting(now + .seconds(10)), for: "in time")
            #expect(try await sent(database) == [0: 1])
            _ = try? await database.query(Self.noting(now + .seconds(-1), sleep: 30), for: "late on purpose", within: .milliseconds(100))
            #expect(try await sent(database) == [0: 1, Self.latest: 1])
            let capacity = try await capacity(database)
            let complaints = try await bestOfThree {
                let before = try await sent(database)
                let loop = OpenLoop(poissonEverySecond: capacity * 4, for: .seconds(1), seed: 2)
                let (_, reference) = try await beside {
                    try await loop.run { start, intended in
                        // Some have little time, some have plenty.
                        let budget = Duration.milliseconds(20 + intended.nanoseconds / 1_000 % 480)
                        let end = SystemTime().wallNow() + (intended + budget - .now())
                        _ = await Visit.run(database, Self.noting(end), within: budget, start: start, intended: intended)
                    }
                }
                let counts = try await sent(database).merging(before) { $0 - $1 }.filter { $0.value > 0 }
                // From the pool's decision to the backend's own look at its clock, on a machine that lets both run.
                let allowed = reference.allows(.milliseconds(10))
                let late = counts.filter { Duration.milliseconds(10 * $0.key) > allowed }.values.reduce(0, +)
                let all = counts.values.reduce(0, +)
                print("O2: \(all) sent, by 10 ms after the deadline: \(counts); \(allowed.text) allowed")
                return (late > 0 ? ["\(late) statements were sent late"] : []) + (all < 50 ? ["only \(all) were sent"] : [])
            }
            #expect(complaints == [])
        }
    }

    /// The last sequence stands for all that is later still.
    private static let latest = 50

    /// Notes how many hundredths of a second after `end` it was sent, rounded up, before it sleeps: a sequence keeps what it counted when the
    /// statement is cancelled.
    private static func noting(_ end: WallTime, sleep: Double = 0.02) -> SQL {
        """
        SELECT nextval(('sent_' || greatest(0, least(\(latest)::int, ceil(extract(epoch FROM statement_timestamp() - \(end)::timestamptz) * 100)::int)))::regclass),
               pg_sleep(\(sleep)::float8)
        """
    }

    /// How many statements noted that they were sent, by how late; nothing where there were none.
    private func sent(_ database: Database) async throws -> [Int: Int] {
        let rows = try await database.query(
            "SELECT substr(sequencename, 6)::int AS late, last_value AS n FROM pg_sequences WHERE last_value IS NOT NULL", for: "count", within: .seconds(10))
        return try Dictionary(uniqueKeysWithValues: rows.map { (try $0.int("late"), try $0.int("n")) })
    }

    @Test(arguments: [WorkClass.background, .interactive])
    func `O3: the critical class is served in a flood of others`(flood: WorkClass) async throws {
        try await withSmallPool { database in
            let capacity = try await capacity(database)
            let complaints = try await bestOfThree {
                let critical = Mutex(Visits())
                async let others = run(OpenLoop(poissonEverySecond: capacity * 10, for: .milliseconds(1_200), seed: 3), database, flood)
                try await OpenLoop(everySecond: 100, for: .milliseconds(1_200)).run { start, intended in
                    let visit = await Visit.run(database, "SELECT 1", .critical, within: Self.budget, start: start, intended: intended)
                    critical.withLock { $0.all.append(visit) }
                }
                let (visits, flooded) = (critical.withLock { $0 }, try await others)
                print("O3: critical: \(visits.figures); \(flood): \(flooded.visits.figures); \(flooded.reference.text)")
                let slowest = visits.served.map(\.took).quantile(0.99)
                let allowed = flooded.reference.allows(.milliseconds(50), share: 0.99)
                return (visits.served.count < visits.all.count ? ["\(visits.all.count - visits.served.count) critical callers were not served"] : [])
                    + (slowest >= allowed ? ["critical p99 \(slowest.text) of \(allowed.text)"] : [])
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
                let run = try await run(loop, database) { at in
                    if at >= calm { found.withLock { $0.append((at - calm, database.pool.statistics().waiting)) } }
                }
                let emptyAfter = found.withLock { $0.first { $0.waiting == 0 }?.at }
                let (before, during) = (run.visits[.zero..<burst], run.visits[burst..<calm])
                let end = (calm + .seconds(2))..<(calm + .seconds(2.8))
                let after = run.visits[end]
                print("O4: the queue was empty \(emptyAfter?.text ?? "-") after the burst; \(run.reference.text)")
                print("O4: before: \(before.figures); during: \(during.figures); after: \(after.figures)")
                let (normal, then) = (before.served.map(\.took).quantile(0.95), after.served.map(\.took).quantile(0.95))
                var complaints: [String] = []
                let cleared = promise(.seconds(2), "O4: the backlog of a burst of ten seconds is gone")
                if emptyAfter.map({ $0 > cleared }) ?? true {
                    complaints.append("callers waited without a break for \(emptyAfter?.text ?? "all the time")")
                }
                if then > normal * 1.5 + run.allows(.milliseconds(10), share: 0.95, in: end) { complaints.append("p95 \(then.text), before the burst \(normal.text)") }
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
                let run = try await run(OpenLoop(poissonEverySecond: capacity * multiple, for: .milliseconds(1_600), seed: 7), database)
                let then = run.visits[.milliseconds(750)..<(.milliseconds(1_600))]
                guard !then.retries.isEmpty, !then.waits.isEmpty else { return ["nobody was refused, or nobody served"] }
                let (told, real) = (then.retries.quantile(0.5), then.waits.quantile(0.5))
                print("O5: \(multiple)x: told \(told.text), real \(real.text); \(run.visits.figures); \(run.reference.text)")
                let late = run.reference.lateness(0.5)
                return told > real * 1.5 + late || told < real * 0.5 - late ? ["told \(told.text), real \(real.text)"] : []
            }
            #expect(complaints == [])
        }
    }
}
