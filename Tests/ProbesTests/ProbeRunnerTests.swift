import Probes
import Synchronization
import Testing
import Vitals

@Suite struct `A probe runner` {
    let time = ManualTime()
    let collected = Collected<Sample>()

    private func runner(
        interval: Duration = .seconds(1), timeout: Duration = .milliseconds(500),
        _ measure: @escaping @Sendable () async throws -> Measurement
    ) -> ProbeRunner {
        ProbeRunner(
            Probe(id: "probe", component: "component", interval: interval, timeout: timeout, measure: measure), time: time
        ) { [collected] in collected.add($0) }
    }

    /// Runs it while `body` moves the clock.
    private func running(_ runner: ProbeRunner, _ body: () async throws -> Void) async throws {
        try await withTaskExecutorPreference(OneByOne()) {
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask { await runner.run() }
                try await body()
                group.cancelAll()
            }
        }
    }

    /// Runs it until so many samples are there.
    private func running(_ runner: ProbeRunner, for count: Int) async throws {
        try await running(runner) { try await time.run("\(count) samples") { collected.count >= count } }
    }

    @Test func `measures at its interval, faster after the first answer`() async throws {
        try await running(runner { Measurement(values: ["a": 1]) }, for: 7)
        let starts = collected.all.map { $0.at - .start }
        // Three quick looks follow the first, then one each second.
        let gaps = zip(starts, starts.dropFirst()).map { $1 - $0 }
        for gap in gaps.prefix(3) { #expect(gap >= .milliseconds(200) && gap <= .milliseconds(300)) }
        for gap in gaps.dropFirst(3) { #expect(gap >= .seconds(1) && gap <= .milliseconds(1_100)) }
        #expect(collected.all.allSatisfy { $0.measurement?.values["a"] == 1 })
    }

    @Test func `turns whatever is thrown into a sample and goes on`() async throws {
        struct Odd: Error {}
        let turn = Counter()
        let runner = runner {
            turn.add()
            if turn.value % 2 == 1 { throw Odd() }
            throw ProbeFailure(.full, "100 of 100")
        }
        try await running(runner, for: 4)
        #expect(collected.all.prefix(4).map(\.outcome) == [.error, .full, .error, .full])
        #expect(runner.statistics.up == false)
        #expect(runner.statistics.lastSuccess == nil)
    }

    @Test func `reaches the deadline of a run that hangs`() async throws {
        let time = time
        let runner = runner {
            try await time.sleep(for: .seconds(3_600))
            return Measurement()
        }
        try await running(runner, for: 2)
        let first = collected.all[0]
        #expect(first.outcome == .timeout)
        #expect(first.duration == .milliseconds(500))
        #expect(first.failure?.description == "not answering: no reply within 500 ms")
        #expect(runner.statistics.runs[.timeout] == 2)
        #expect(runner.statistics.overruns == 0)
        #expect(runner.progress >= collected.all[1].at)
    }

    @Test func `does not start a second run beside one that ignores cancellation, and drops what it brings late`() async throws {
        let gate = Gate()
        let started = Counter()
        let runner = runner {
            started.add()
            if started.value == 1 { await gate.wait() }
            return Measurement()
        }
        try await running(runner) {
            // It ends when the look does.
            defer { gate.open() }
            try await time.run("three samples") { collected.count >= 3 }
            #expect(started.value == 1)
            #expect(collected.all.map(\.outcome).prefix(3) == [.timeout, .skipped, .skipped])
            #expect(collected.all[2].at - collected.all[1].at >= .seconds(1), "one hang does not cast its votes at once")
            #expect(collected.all[1].failure?.description.hasPrefix("not answering: the look before it has not come back for ") == true)
            #expect(runner.statistics.overruns >= 2)
            let stuck = runner.progress
            gate.open()
            try await time.run("a good look") { collected.all.contains { $0.outcome == .ok } }
            #expect(started.value == 2)
            #expect(runner.statistics.lateResults == 1)
            #expect(runner.progress > stuck, "a hung probe is not a hung runner")
        }
    }

    @Test("D8: a run that is left at its timeout goes on to its own end, and none begins beside it")
    func left() async throws {
        let gate = Gate()
        let (started, cancelled) = (Counter(), Counter())
        let probe = Probe(id: "probe", component: "component", atTimeout: .left) {
            started.add()
            if started.value == 1 { await gate.wait() }
            if Task.isCancelled { cancelled.add() }
            return Measurement()
        }
        let runner = ProbeRunner(probe, time: time) { [collected] in collected.add($0) }
        try await running(runner) {
            try await time.run("three samples") { collected.count >= 3 }
            #expect(collected.all.map(\.outcome) == [.timeout, .skipped, .skipped])
            #expect(started.value == 1)
            gate.open()
            try await time.run("a fourth sample") { collected.count >= 4 }
            #expect(collected.all[3].outcome == .ok && cancelled.value == 0)
            #expect(runner.statistics.lateResults == 1)
        }
    }

    @Test func `measures at once when nudged`() async throws {
        let runner = runner(interval: .seconds(60)) { Measurement() }
        try await running(runner) {
            try await time.run("four samples", step: .milliseconds(500)) { collected.count >= 4 }
            let before = collected.all[3].at
            runner.nudge()
            try await time.run("a fifth sample") { collected.count >= 5 }
            #expect(collected.all[4].at - before < .seconds(2))
        }
    }

    /// The promise of the default rule, at the worst moment: the target goes right after a good look.
    @Test(arguments: [true, false]) func `sees stopped and frozen within 2.5 s and the return within 2 s`(_ frozen: Bool) async throws {
        let time = time
        let broken = Mutex(false)
        let board = HealthBoard(rules: [.answers("postgres")], time: time)
        let changes = Collected<Transition>()
        board.observe { changes.add($0) }
        let good = Collected<MonotonicInstant>()
        let probe = Probe(id: "postgres", component: "postgres") {
            if broken.withLock({ $0 }) {
                if frozen { try await time.sleep(for: .seconds(3_600)) }
                throw ProbeFailure(.unreachable, "connection refused")
            }
            good.add(time.now())
            return Measurement()
        }
        let runner = ProbeRunner(probe, board: board, time: time)
        try await running(runner) {
            try await time.run("six good looks") { good.count >= 6 }
            broken.withLock { $0 = true }
            let brokeAt = time.now()
            try await time.run("it is critical") { changes.all.last?.to == .critical }
            let seen = changes.all.last
            #expect(time.now() - brokeAt <= .milliseconds(2_500))
            #expect(seen?.reason.contains(frozen ? "not answering: no reply within 500 ms" : "down: connection refused") == true)
            broken.withLock { $0 = false }
            let backAt = time.now()
            try await time.run("it is healthy") { changes.all.last?.to == .healthy }
            #expect(time.now() - backAt <= .seconds(2))
        }
    }
}

/// Holds whoever waits, cancelled or not, until it is opened.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func wait() async {
        await withCheckedContinuation { continuation in
            let open = state.withLock { state -> Bool in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if open { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        waiting.forEach { $0.resume() }
    }
}
