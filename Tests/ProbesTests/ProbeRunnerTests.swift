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

    private func running(_ runner: ProbeRunner, until condition: @escaping () -> Bool) async {
        await withTaskExecutorPreference(OneByOne()) {
            await withDiscardingTaskGroup { group in
                group.addTask { await runner.run() }
                await time.run(until: condition)
                group.cancelAll()
            }
        }
    }

    @Test func `measures at its interval, faster after the first answer`() async {
        await running(runner { Measurement(values: ["a": 1]) }) { self.collected.count >= 7 }
        let starts = collected.all.map { $0.at - .start }
        // Three quick looks follow the first, then one each second.
        let gaps = zip(starts, starts.dropFirst()).map { $1 - $0 }
        for gap in gaps.prefix(3) { #expect(gap >= .milliseconds(200) && gap <= .milliseconds(300)) }
        for gap in gaps.dropFirst(3) { #expect(gap >= .seconds(1) && gap <= .milliseconds(1_100)) }
        #expect(collected.all.allSatisfy { $0.measurement?.values["a"] == 1 })
    }

    @Test func `turns whatever is thrown into a sample and goes on`() async {
        struct Odd: Error {}
        let turn = Counter()
        let runner = runner {
            turn.add()
            if turn.value % 2 == 1 { throw Odd() }
            throw ProbeFailure(.full, "100 of 100")
        }
        await running(runner) { self.collected.count >= 4 }
        #expect(collected.all.prefix(4).map(\.outcome) == [.error, .full, .error, .full])
        #expect(runner.statistics.up == false)
        #expect(runner.statistics.lastSuccess == nil)
    }

    @Test func `reaches the deadline of a run that hangs`() async {
        let time = time
        let runner = runner {
            try await time.sleep(for: .seconds(3_600))
            return Measurement()
        }
        await running(runner) { self.collected.count >= 2 }
        let first = collected.all[0]
        #expect(first.outcome == .timeout)
        #expect(first.duration == .milliseconds(500))
        #expect(first.failure?.description == "not answering: no reply within 500 ms")
        #expect(runner.statistics.runs[.timeout] == 2)
        #expect(runner.statistics.overruns == 0)
        #expect(runner.progress >= collected.all[1].at)
    }

    @Test func `does not start a second run beside one that ignores cancellation, and drops what it brings late`() async {
        let gate = Gate()
        let started = Counter()
        let runner = runner {
            started.add()
            if started.value == 1 { await gate.wait() }
            return Measurement()
        }
        await withDiscardingTaskGroup { group in
            group.addTask { await runner.run() }
            await time.run { self.collected.count >= 3 }
            #expect(started.value == 1)
            #expect(collected.all.map(\.outcome).prefix(3) == [.timeout, .skipped, .skipped])
            #expect(collected.all[1].failure?.description.hasPrefix("not answering: the look before it has not come back for ") == true)
            #expect(runner.statistics.overruns >= 2)
            let stuck = runner.progress
            gate.open()
            await time.run { self.collected.all.contains { $0.outcome == .ok } }
            #expect(started.value == 2)
            #expect(runner.statistics.lateResults == 1)
            #expect(runner.progress > stuck, "a hung probe is not a hung runner")
            group.cancelAll()
        }
    }

    @Test func `measures at once when nudged`() async {
        let runner = runner(interval: .seconds(60)) { Measurement() }
        await withDiscardingTaskGroup { group in
            group.addTask { await runner.run() }
            await time.run(step: .milliseconds(500)) { self.collected.count >= 4 }
            let before = collected.all[3].at
            runner.nudge()
            await time.run { self.collected.count >= 5 }
            #expect(collected.all[4].at - before < .seconds(2))
            group.cancelAll()
        }
    }

    /// The promise of the default rule, at the worst moment: the target goes right after a good look.
    @Test(arguments: [true, false]) func `sees stopped and frozen within 2.5 s and the return within 2 s`(_ frozen: Bool) async {
        let time = time
        let broken = Mutex(false)
        let board = HealthBoard(rules: [.answers("postgres")], time: time)
        let changes = Collected<Transition>()
        board.observe { changes.add($0) }
        let good = Collected<MonotonicInstant>()
        let probe = Probe(id: "postgres", component: "postgres") {
            if broken.withLock({ $0 }) {
                if frozen { try await time.sleep(for: .seconds(3_600)) }
                throw ProbeFailure(.refused, "connection refused")
            }
            good.add(time.now())
            return Measurement()
        }
        let runner = ProbeRunner(probe, board: board, time: time)
        await withDiscardingTaskGroup { group in
            group.addTask { await runner.run() }
            await time.run { good.count >= 6 }
            broken.withLock { $0 = true }
            let brokeAt = time.now()
            await time.run { changes.all.last?.to == .critical }
            let seen = changes.all.last
            #expect(time.now() - brokeAt <= .milliseconds(2_500))
            #expect(seen?.reason.contains(frozen ? "not answering: no reply within 500 ms" : "down: connection refused") == true)
            broken.withLock { $0 = false }
            let backAt = time.now()
            await time.run { changes.all.last?.to == .healthy }
            #expect(time.now() - backAt <= .seconds(2))
            group.cancelAll()
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
