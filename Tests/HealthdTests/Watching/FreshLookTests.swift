@testable import AppCore
@testable import Probes
import Synchronization
import TestServers
import Testing
import Vitals

@testable import healthd

/// Before the pool is called full the server is asked whether it answers at all.
@Suite("A fresh look")
struct FreshLookTests {
    private func measured(waits: Duration?, answers: @escaping @Sendable (Duration) async -> Bool) async throws -> [String: Double] {
        let time = ManualTime()
        let reading = PoolReading(time: time) {
            var pool = HTTPSamples.pool(leased: 2, max: 2, waiting: waits == nil ? 0 : 1)
            pool.oldestWait = waits
            return pool
        }
        let probe = PoolWatch.probe(reading, interval: .seconds(1), timeout: .milliseconds(500), time: time, serverAnswers: answers)
        _ = try await probe.measure()
        time.advance(by: .milliseconds(100))
        return try await probe.measure().values
    }

    @Test("A12: a pool is full only while its server answers; what the server keeps is not judged")
    func onlyWhileItAnswers() async throws {
        #expect(try await measured(waits: .seconds(1)) { _ in true }["saturation"] == 1.5)
        #expect(try await measured(waits: .seconds(1)) { _ in false }["saturation"] == nil)
        let asked = Counter()
        let calm = try await measured(waits: nil) { _ in
            asked.add()
            return false
        }
        #expect(calm["saturation"] == 0 && asked.value == 0, "a pool that is not full asks nobody")
    }

    @Test("A12: the answer is that of the next look, whatever it is, and no answer in time is none")
    func next() async throws {
        let time = SystemTime()
        let look = FreshLook(time: time)
        #expect(await look.isWell(within: .seconds(60)), "joined with nobody")
        let manner = Mutex("well")
        let probe = Probe(id: "postgres", component: "postgres", interval: .seconds(3_600), timeout: .seconds(60)) {
            switch manner.withLock({ $0 }) {
            case "well": return Measurement()
            case "refused": throw ProbeFailure(.unreachable, "sorry")
            default:
                try await time.sleep(for: .seconds(600))
                return Measurement()
            }
        }
        let runner = ProbeRunner(probe, time: time) { look.record($0) }
        look.connect(to: runner)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await runner.run() }
            #expect(await look.isWell(within: .seconds(60)))
            manner.withLock { $0 = "refused" }
            // The look before may have been under way.
            try await until("it is refused") { await look.isWell(within: .seconds(60)) == false }
            manner.withLock { $0 = "silent" }
            let moment = Duration.milliseconds(50)
            try await until("it is silent") { await look.isWell(within: moment) == false && runner.statistics.runningFor != nil }
            group.cancelAll()
        }
    }
}
