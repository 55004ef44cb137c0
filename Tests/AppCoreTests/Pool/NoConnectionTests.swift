import TestServers
import Testing
import Vitals

@testable import AppCore

/// What is told when no connection is open: that there is none, and never that the pool is busy.
@Suite("No connection")
struct NoConnectionTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)
    private let site = CallSite(file: #fileID, line: 1)

    private func at(_ milliseconds: Int) -> MonotonicInstant { start + .milliseconds(milliseconds) }

    private func caller(_ workClass: WorkClass = .interactive, at now: Int, deadline: Int = 20_000) -> Caller {
        Caller(purpose: "test", workClass: workClass, site: site, since: at(now), deadline: Deadline(at(deadline)))
    }

    private func state(max: Int = 2, waiters: Int = 10) -> PoolState {
        PoolState(configuration: PoolConfiguration(max: max, min: 0, waiters: waiters), server: "db:5432/app", now: start)
    }

    /// What `databaseUnavailable` says; nil for anything else.
    private func unavailable(_ error: PoolError?) -> (cause: String, since: Duration)? {
        if case .databaseUnavailable(let cause, let since, _) = error { (cause, since) } else { nil }
    }

    private func refusal(_ checkout: PoolState.Checkout) -> PoolError? {
        if case .refuse(let error) = checkout { error } else { nil }
    }

    @Test("D5: an attempt to connect without an answer for a second says that the database is not there, and whom it asked")
    func silence() throws {
        var state = state()
        let id = state.enqueue(caller(at: 0), now: at(0))
        #expect(state.connectsDue(now: at(0)) == [0])
        guard case .wait(let second) = state.checkout(caller(at: 999), now: at(999)) else {
            Issue.record("it does not wait")
            return
        }
        #expect(state.noticeSilence(now: at(999)) == nil)
        // Who comes is told, before anybody has looked at the clock; who waits, when somebody has.
        let newcomer = try #require(unavailable(refusal(state.checkout(caller(at: 1_000), now: at(1_000)))))
        #expect(newcomer.since == .seconds(1) && newcomer.cause.contains("db:5432/app") && newcomer.cause.contains("no answer within 1 s"))
        #expect(state.noticeSilence(now: at(1_100)) == [id, second])
        #expect(state.noticeSilence(now: at(1_200)) == nil, "it is told once")
        #expect(unavailable(state.attempts.unavailable(now: at(1_500)))?.since == .milliseconds(1_500))
        // The attempt goes on, alone, and its answer ends it all.
        #expect(state.connectsDue(now: at(1_600)).isEmpty)
        #expect(state.connected(0, now: at(1_700)) == .park)
        #expect(state.unavailable(now: at(1_700)) == nil)
    }

    @Test("D5: of several hosts all but the last may be silent for their share, and who waits is served by the next")
    func silentHosts() {
        var state = PoolState(configuration: PoolConfiguration(max: 2, min: 0, connectTimeout: .seconds(5)), server: "a,b:5432/app", hosts: 2, now: start)
        let id = state.enqueue(caller(at: 0), now: at(0))
        #expect(state.connectsDue(now: at(0)) == [0])
        #expect(state.noticeSilence(now: at(3_400)) == nil && state.unavailable(now: at(3_400)) == nil)
        #expect(state.noticeSilence(now: at(3_500)) == [id])
        #expect(ConnectAttempts.patience(hosts: 1, timeout: .seconds(5)) == .seconds(1))
    }

    @Test("D5: when the last connection goes another is tried at once, however lately an attempt beside it failed")
    func lastOneGoesAfterAFailure() throws {
        var state = state()
        var generator = SplitMix64(seed: 1)
        let first = state.enqueue(caller(at: 0), now: at(0))
        #expect(state.connectsDue(now: at(0)) == [0])
        #expect(state.connected(0, now: at(1)) == .hand(to: first))
        let second = state.enqueue(caller(at: 10), now: at(10))
        for _ in 0..<8 {
            let next = state.attempts.nextAt ?? at(10)
            #expect(state.connectsDue(now: next) == [1])
            #expect(state.connectFailed(1, cause: "too many clients", now: next, using: &generator) == [])
        }
        let next = try #require(state.attempts.nextAt)
        #expect(state.connectsDue(now: next - .milliseconds(500)) == [])
        #expect(state.giveBack(0, reusable: false, lost: true, now: next - .milliseconds(500)) == .close(.error))
        #expect(state.connectsDue(now: next - .milliseconds(500)) == [0])
        #expect(state.connectFailed(0, cause: "refused", now: next - .milliseconds(499), using: &generator) == [second], "then all are told")
    }

    @Test func `an attempt that ends because the pool ends refuses nobody: the end does, by its own name`() {
        var state = state()
        let waiter = state.enqueue(caller(at: 0), now: at(0))
        #expect(state.connectsDue(now: at(0)) == [0])
        state.connectAbandoned(0, now: at(1))
        #expect(state.total == 0 && state.unavailable(now: at(1)) == nil)
        #expect(state.shutDown(now: at(2)).refuse == [waiter])
    }

    @Test("D5: it is told as soon as the last connection goes, if an attempt has had no answer for a second then")
    func lastOneGoes() {
        var state = state()
        let first = state.enqueue(caller(at: 0), now: at(0))
        #expect(state.connectsDue(now: at(0)) == [0])
        #expect(state.connected(0, now: at(1)) == .hand(to: first))
        let second = state.enqueue(caller(at: 10), now: at(10))
        #expect(state.connectsDue(now: at(10)) == [1])
        // Somebody has a connection, so somebody may get one.
        #expect(state.unavailable(now: at(5_000)) == nil && state.noticeSilence(now: at(5_000)) == nil)
        #expect(state.giveBack(0, reusable: false, lost: true, now: at(5_001)) == .close(.error))
        #expect(unavailable(state.unavailable(now: at(5_001)))?.since == .milliseconds(4_991))
        #expect(state.noticeSilence(now: at(5_001)) == [second])
    }

    @Test("D5: while no connection is in use nobody is told that the pool is busy: by a full queue, at a deadline", arguments: ShedReason.allCases)
    func neverBusyWithoutALease(reason: ShedReason) throws {
        func told(_ state: PoolState, _ now: Int) -> PoolError { state.refusal(reason, estimate: nil, waited: .zero, now: at(now)) }
        var state = state(waiters: 1)
        let id = state.enqueue(caller(at: 0), now: at(0))
        _ = state.connectsDue(now: at(0))
        // At once, a queue that is full.
        #expect(unavailable(refusal(state.checkout(caller(at: 1), now: at(1)))) != nil)
        let connecting = try #require(unavailable(told(state, 300)))
        #expect(connecting.cause.contains("db:5432/app") && connecting.since == .milliseconds(300))
        #expect(state.connected(0, now: at(400)) == .hand(to: id))
        if case .saturated(let picture, _, _, let why) = told(state, 500) {
            #expect(picture.leased == 1 && why == reason)
        } else {
            Issue.record("with a lease: \(told(state, 500))")
        }
        // In use as well: it is cleared after the lease.
        #expect(state.giveBack(0, reusable: false, lost: false, now: at(600)) == .recover)
        if case .saturated(let picture, _, _, _) = told(state, 700) {
            #expect(picture.leased == 1)
        } else {
            Issue.record("while it is cleared: \(told(state, 700))")
        }
        #expect(state.recovered(0, usable: false, now: at(800)) == .close(.error))
        #expect(unavailable(told(state, 900)) != nil)
    }

    @Test("D5: callers of a server that takes the connection and says nothing are told so at once, or at their deadline if that is earlier")
    func silentServer() async throws {
        let silent = try FakeServer(.silent)
        let endpoint = PostgresEndpoint(keywords: ["host": "127.0.0.1", "port": "\(silent.port)", "user": "app", "dbname": "app"])
        let log = LogLines()
        let deadline = Duration.seconds(60)
        try await withPool(PoolConfiguration(max: 4, connectTimeout: .seconds(60), deadline: deadline), endpoint, logger: log.logger) { database in
            let patient = await timed { await expectUnavailable(database, within: deadline) }
            #expect(patient < deadline / 4, "who has time is not to wait for \(patient)")
            await expectUnavailable(database, within: .milliseconds(50))
            let statistics = database.pool.statistics()
            #expect(statistics.unavailable?.cause.contains("\(silent.port)") == true)
            #expect(statistics.newestConnect?.error != nil)
            let outcomes = statistics.acquire.mapValues(\.count)
            #expect(outcomes[.timeout] == 0 && outcomes[.refused] == 0 && outcomes[.unavailable] == 2, "\(outcomes)")
            // After the callers have been told, on a thread of the loop.
            try await until("it is logged") { log.all.contains { $0.hasPrefix("error database is unavailable") } }
        }
        #expect(log.all.filter { $0.hasPrefix("error database is unavailable") }.count == 1, "\(log.all)")
    }

    private func expectUnavailable(_ database: Database, within budget: Duration) async {
        do {
            _ = try await database.query("SELECT 1", for: "ask", within: budget)
            Issue.record("a silent server answered")
        } catch {
            #expect(unavailable(error as? PoolError) != nil, "told: \(error)")
        }
    }

    @Test("D5: who has less time than a second is told at its deadline that there is no connection")
    func shortDeadline() async throws {
        let silent = try FakeServer(.silent)
        let endpoint = PostgresEndpoint(keywords: ["host": "127.0.0.1", "port": "\(silent.port)", "user": "app", "dbname": "app"])
        try await withPool(PoolConfiguration(max: 4, deadline: .milliseconds(100)), endpoint) { database in
            await expectUnavailable(database, within: .milliseconds(100))
        }
    }
}
