import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// Long lives of a pool, played through in an instant: the decisions are values, and time is a number.
@Suite("Pool lives")
struct PoolLifeTests {
    /// What happens at one moment: a lease ends, or a connect does.
    private struct Event: Comparable {
        enum Kind { case leaseEnds, connected }
        var at: MonotonicInstant
        var kind: Kind
        var slot: Int

        static func < (left: Self, right: Self) -> Bool { (left.at, left.slot) < (right.at, right.slot) }
    }

    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    private func caller(at now: MonotonicInstant) -> Caller {
        Caller(purpose: "test", site: CallSite(file: #fileID, line: 1), since: now, deadline: Deadline(now + .seconds(60)))
    }

    @Test func `P7: a burst of short requests is over before it has opened more than one connection`() {
        var state = PoolState(configuration: PoolConfiguration(max: 20, min: 5), now: start)
        for slot in state.connectsDue(now: start) + state.connectsDue(now: start) { #expect(state.connected(slot, now: start) == .park) }
        while case let due = state.connectsDue(now: start), !due.isEmpty { for slot in due { _ = state.connected(slot, now: start) } }
        #expect(state.total == 5)
        var events: [Event] = []
        var latest = start
        for _ in 0..<50 {
            switch state.checkout(caller(at: start), now: start) {
            case .lease(let slot): events.append(Event(at: start + .milliseconds(2), kind: .leaseEnds, slot: slot))
            case .wait: break
            case .refuse(let error): Issue.record("refused: \(error)")
            }
            events += state.connectsDue(now: start).map { Event(at: start + .milliseconds(150), kind: .connected, slot: $0) }
        }
        var served = 0
        while let next = events.min() {
            events.removeAll { $0 == next }
            let decision: PoolState.NextStep
            switch next.kind {
            case .leaseEnds:
                served += 1
                latest = next.at
                decision = state.giveBack(next.slot, reusable: true, lost: false, now: next.at)
            case .connected: decision = state.connected(next.slot, now: next.at)
            }
            if case .hand = decision { events.append(Event(at: next.at + .milliseconds(2), kind: .leaseEnds, slot: next.slot)) }
            events += state.connectsDue(now: next.at).map { Event(at: next.at + .milliseconds(150), kind: .connected, slot: $0) }
        }
        #expect(served == 50)
        #expect(latest - start <= .milliseconds(60))
        #expect(state.total == 6)
    }

    @Test(arguments: [Duration.seconds(30), .zero], [Duration.milliseconds(20), .seconds(1)])
    func `P8: in a pool that is always busy no connection outlives its lifetime by more than a lease, and none ends beside another`(
        lifetime: Duration, longestLease: Duration
    ) {
        var generator = SplitMix64(seed: 8)
        var state = PoolState(configuration: PoolConfiguration(max: 10, min: 10, lifetime: lifetime), now: start)
        var now = start
        var born: [Int: MonotonicInstant] = [:]
        var busyUntil: [Int: MonotonicInstant] = [:]
        var endings: [MonotonicInstant] = []
        var turn: MonotonicInstant?
        func ended(_ slot: Int) {
            guard let birth = born[slot] else {
                Issue.record("what never stood was closed")
                return
            }
            #expect(now - birth <= lifetime + longestLease, "it lived \((now - birth).text)")
            endings.append(now)
        }
        while now < start + .seconds(300) {
            for slot in state.connectsDue(now: now) {
                born[slot] = now
                _ = state.connected(slot, now: now)
            }
            // Somebody always waits, so a connection that comes free is leased again at once.
            while !state.idle.isEmpty, case .lease(let slot) = state.checkout(caller(at: now), now: now) {
                busyUntil[slot] = now + longestLease * Double.random(in: 0.1...1, using: &generator)
            }
            guard let (slot, until) = busyUntil.min(by: { ($0.value, $0.key) < ($1.value, $1.key) }) else { break }
            if let next = turn, next <= until {
                now = next
                let retired = state.retireNext(now: now)
                if let slot = retired.slot { ended(slot) }
                turn = retired.again
                continue
            }
            now = until
            busyUntil[slot] = nil
            switch state.giveBack(slot, reusable: true, lost: false, now: now) {
            case .close: ended(slot)
            case .retire(let at): turn = turn ?? at
            case .park: break
            case .hand, .recover: Issue.record("nobody waits, and all is well")
            }
        }
        if lifetime == .zero {
            #expect(endings.isEmpty)
        } else {
            #expect(endings.count > 80)
            for (one, next) in zip(endings, endings.dropFirst()) { #expect(next - one >= .milliseconds(250)) }
        }
    }

    @Test func `P11: a lease that outlives the threshold is named with its place and statement, and once more when it comes back`() async throws {
        let server = try await TestPostgres.start()
        let lines = LogLines()
        try await withPool(PoolConfiguration(max: 2, deadline: .milliseconds(100)), server.endpoint, logger: lines.logger) { database in
            try await database.withConnection(for: "leaky", within: .seconds(20)) { lease in
                _ = try await lease.query("SELECT 17 AS n")
                try await until("a leak is suspected") { database.pool.statistics().leaksSuspected > 0 }
            }
            #expect(database.pool.statistics().leaksSuspected == 1)
            #expect(database.pool.statistics().leaksReturned == 1)
        }
        let told = lines.all.filter { $0.contains("purpose=leaky") }
        #expect(told.count == 2)
        #expect(told.allSatisfy { $0.contains("statement=SELECT ? AS n") && $0.contains("taken at=AppCoreTests/PoolLifeTests.swift:") })
        #expect(told.first?.hasPrefix("warning lease held unusually long") == true && told.last?.hasPrefix("warning lease came back after all") == true)
    }

    @Test func `P12: what happens is counted by outcome, timed in histograms, and told as the four events`() async throws {
        let server = try await TestPostgres.start()
        let events = Mutex<[String]>([])
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint, onEvent: { event in events.withLock { $0.append(event.name) } }) { database in
            try await database.untilIdle(1)
            try await database.withConnection(for: "first") { _ in }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await database.query("SELECT pg_sleep(0.5)", for: "holder") }
                try await database.untilLeased(1)
                group.addTask { try await database.withConnection(for: "second") { _ in } }
                try await group.waitForAll()
            }
            let statistics = database.pool.statistics()
            #expect(statistics.acquire[.immediate]?.count == 2)
            #expect(statistics.acquire[.waited]?.count == 1)
            #expect(statistics.use.count == 3 && statistics.use.sum > 0.1)
            #expect(statistics.createSucceeded.count == 1)
            #expect(statistics.query[QueryKind(operation: .select, outcome: .ok)]?.count == 1)
            #expect(statistics.shed[ShedKey(workClass: .interactive, reason: .expired)] == 0)
        }
        let names = events.withLock { $0 }
        #expect(names.prefix(4) == ["pool_created", "client_created", "client_checkout", "client_release"])
        #expect(names.count { $0 == "client_checkout" } == 3 && names.count { $0 == "client_release" } == 3)
    }

    @Test func `P12: each way in which asking and a statement can end is counted once, and timed`() async throws {
        let server = try await TestPostgres.start()
        let configuration = PoolConfiguration(max: 1, deadline: .seconds(20), waiters: 1, reserved: 0, batching: false)
        try await withPool(configuration, server.endpoint) { database in
            try await database.untilIdle(1)
            func counts<Key>(_ snapshots: [Key: HistogramSnapshot]) -> [Key: Int] { snapshots.mapValues(\.count).filter { $0.value > 0 } }
            func query(_ sql: SQL, _ purpose: Purpose, within budget: Duration? = nil) async {
                _ = try? await database.query(sql, for: purpose, within: budget)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await database.withConnection(for: "holder") { _ = try await $0.query("SELECT pg_sleep(2)") } }
                try await database.untilLeased(1)
                // One leaves, one's time is up, one finds no room, one is served after all.
                try await withThrowingTaskGroup(of: Void.self) { leaver in
                    leaver.addTask { await query("SELECT 1", "leaves") }
                    try await database.untilWaiting(1)
                    leaver.cancelAll()
                }
                await query("SELECT 1", "late", within: .milliseconds(50))
                group.addTask { try await database.withConnection(for: "waits") { _ in } }
                try await database.untilWaiting(1)
                await query("SELECT 1", "no room")
                try await group.waitForAll()
            }
            #expect(counts(database.pool.statistics().acquire) == [.immediate: 1, .waited: 1, .timeout: 1, .cancelled: 1, .refused: 1])
            let shed = database.pool.statistics().shed.filter { $0.value > 0 }
            #expect(shed == [ShedKey(workClass: .interactive, reason: .expired): 1, ShedKey(workClass: .interactive, reason: .queueFull): 1])
            let times = database.pool.statistics().acquire
            #expect(times[.timeout]?.sum ?? 0 >= 0.05 && times[.waited]?.sum ?? 0 > 0.1)
            #expect(times[.refused]?.sum ?? 1 < times[.timeout]?.sum ?? 0, "told at once, and not at its deadline")

            await query("SELECT 1 / 0", "wrong")
            await query("SELECT pg_sleep(30)", "slow", within: .milliseconds(50))
            try await database.untilIdle(1)
            try await withThrowingTaskGroup(of: Void.self) { leaver in
                leaver.addTask { await query("SELECT pg_sleep(30)", "leaves") }
                try await until("it is on its way") { database.pool.holders().holders.first?.statement?.contains("pg_sleep") == true }
                leaver.cancelAll()
            }
            try await database.untilIdle(1)
            let kinds = counts(database.pool.statistics().query)
            #expect(kinds == [.ok: 1, .error: 1, .timeout: 1, .cancelled: 1].reduce(into: [:]) { $0[QueryKind(operation: .select, outcome: $1.key)] = $1.value })
            let errors = database.pool.statistics().queryErrorsBySQLStateClass.filter { $0.value > 0 }
            #expect(errors.values.reduce(0, +) == 2)

            try await server.stop()
            try await database.untilUnavailable()
            await query("SELECT 1", "down")
            let statistics = database.pool.statistics()
            #expect(counts(statistics.acquire) == [.immediate: 4, .waited: 1, .timeout: 1, .cancelled: 1, .refused: 1, .unavailable: 1])
            #expect(statistics.use.count == 5)
            #expect(statistics.createSucceeded.count == statistics.opened && statistics.createFailed.count >= 1)
        }
    }
}
