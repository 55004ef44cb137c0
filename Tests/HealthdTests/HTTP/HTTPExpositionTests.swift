@testable import AppCore
import NIOCore
@testable import Probes
import Synchronization
import Testing
import Vitals

@testable import healthd

@Suite struct `Exposition of everything` {
    static func snapshots(_ time: ManualTime) -> Snapshots {
        let recent = RecentSamples()
        recent.record(HTTPSamples.sample("postgres", postgres, nil, time))
        recent.record(HTTPSamples.sample("redis", redis, nil, time))
        let board = HTTPSamples.board(time: time).snapshot()
        return Snapshots(
            identity: HTTPSamples.identity, time: time, board: { board },
            probes: { [probe("postgres", time), probe("pool", time)] },
            recent: recent, alerts: { HTTPSamples.alerts() }, pool: { HTTPSamples.pool() }, holders: { HTTPSamples.holders() },
            waiterLimit: 200, cache: { cache }, tasks: { tasks }, streams: { streams },
            http: {
                .init(
                    durations: [.init(handler: "metrics", code: "2xx"): HTTPSamples.histogram()], inFlight: ["metrics": 0],
                    rungs: [.init(handler: "workspace", rung: .stale): 1])
            },
            lifecycle: {
                LifecycleReading(
                    watchdogPingsSent: 3, watchdogInterval: .seconds(5), lastReloadSucceeded: true, lastGoodReload: HTTPSamples.wall
                )
            },
            connections: { .init(phases: [.idle: 0], ended: [.refused: 0], acceptFailures: [.memory: 0], waiting: 0) })
    }

    static let postgres: [String: Double] = [
        "saturation": 0.1, "backends_max": 97, "lock_waiters": 0, "lock_wait_oldest_seconds": 0,
        "idle_in_transaction_oldest_seconds": 0,
        "xid_age_ratio": 0.001, "backends_active": 1, "backends_idle": 2, "backends_idle_in_transaction": 0, "backends_waiting": 0,
        "buffer_reads_cache": 1_000, "buffer_reads_disk": 10, "deadlocks": 0, "temp_bytes": 0, "transactions_commit": 7,
        "transactions_rollback": 0,
    ]

    static let redis: [String: Double] = [
        "clients_connected": 2, "clients_blocked": 0, "clients_max": 10_000, "memory_used_bytes": 1_048_576,
        "memory_limit_bytes": 33_554_432, "rejected_connections": 0, "evicted_keys": 0,
    ]

    static var cache: CacheStatistics {
        CacheStatistics(
            hits: [.memory: 8, .redis: 1], misses: 1, coalesced: 0, loads: 1, loadFailures: 0, refreshes: 0, ownLoads: 0, stale: 0,
            fallbacks: [.down: 0], errors: [.get: 0], operations: [.get: HTTPSamples.histogram(), .set: HTTPSamples.histogram()],
            loadTime: HTTPSamples.histogram(), memoryBytes: 4_096, memoryLimit: 33_554_432, memoryEntries: 3, evictions: 0,
            redisBypassed: false, suspectKeys: 0)
    }

    static var tasks: TaskStatistics {
        TaskStatistics(
            running: 2, limit: 50, backlog: [.queued: 4, .running: 9], backlogAge: .seconds(1), oldestQueued: .seconds(3),
            queue: HTTPSamples.histogram(), run: [.succeeded: HTTPSamples.histogram()], retries: 0, leasesLost: 0,
            claimFailing: false)
    }

    static var streams: EventHubStatistics {
        EventHubStatistics(
            clients: 1, limit: 200, sent: ["task:state": 1], dropped: 0, resumes: [.complete: 1, .gap: 0], backlogPeak: 4)
    }

    static func probe(_ name: String, _ time: ManualTime) -> ProbeStatistics {
        ProbeStatistics(
            probe: ProbeID(name), component: ComponentID(name), interval: .seconds(1), runs: [.ok: 7, .timeout: 1], overruns: 0,
            lateResults: 0, duration: HTTPSamples.histogram(), lastOutcome: .ok, lastDuration: .milliseconds(2),
            lastSuccess: time.wallNow(), staleness: .milliseconds(300), runningFor: nil,
            facts: ["version": "15.14", "role": "primary"])
    }

    @Test func `every metric of the catalogue is exposed, and no other`() {
        let time = ManualTime(wall: HTTPSamples.wall)
        let cache = Self.snapshots(time).exposition()
        // The size of an exposition is known from the second on.
        _ = cache.answer(.text, gzip: false)
        time.advance(by: ExpositionCache.maximumAge)
        let text = String(buffer: cache.answer(.text, gzip: false).bytes)
        let exposed = Set(
            text.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map { String($0.split(separator: " ")[2]) })
        let board = HTTPSamples.board().snapshot()
        // Nothing has changed for the worse in this sample but by its first look.
        #expect(board.components.contains { !$0.transitions.isEmpty })
        #expect(exposed == Set(Catalogue.definitions.map(\.name)))
    }

    @Test func `only targets outside are up or down, and what is stale is absent`() {
        let time = ManualTime(wall: HTTPSamples.wall)
        let snapshots = Self.snapshots(time)
        var text = String(decoding: PrometheusText.render(snapshots.families()), as: UTF8.self)
        #expect(text.contains("healthd_target_up{target=\"postgres\"} 1\n"))
        #expect(!text.contains("healthd_target_up{target=\"pool\""))
        #expect(text.contains("healthd_postgres_backends{target=\"postgres\",state=\"idle\"} 2\n"))
        #expect(text.contains("healthd_saturation_ratio{resource=\"pool\",target=\"main\"} 1.5\n"))
        time.advance(by: .seconds(4))
        text = String(decoding: PrometheusText.render(snapshots.families()), as: UTF8.self)
        #expect(!text.contains("healthd_postgres_backends{"))
        #expect(!text.contains("resource=\"postgres_backends\""))
    }

    @Test func `bytes are rendered once for each sample, and at least once a second`() {
        let time = ManualTime()
        let generation = Mutex(0)
        let collected = Mutex(0)
        let cache = ExpositionCache(time: time) {
            generation.withLock { $0 }
        } collect: {
            collected.withLock { $0 += 1 }
            return [MetricFamily(Catalogue.Process.threads, 7)]
        }
        for _ in 0..<10 {
            _ = cache.answer(.text, gzip: false)
            _ = cache.answer(.openMetrics, gzip: true)
        }
        #expect(collected.withLock { $0 } == 1)
        generation.withLock { $0 += 1 }
        _ = cache.answer(.text, gzip: true)
        #expect(collected.withLock { $0 } == 2)
        time.advance(by: .milliseconds(999))
        _ = cache.answer(.text, gzip: true)
        #expect(collected.withLock { $0 } == 2)
        time.advance(by: .milliseconds(1))
        _ = cache.answer(.text, gzip: true)
        #expect(collected.withLock { $0 } == 3)
    }

    @Test func `both formats and encodings say the same`() throws {
        let cache = Self.snapshots(ManualTime(wall: HTTPSamples.wall)).exposition()
        for format in ExpositionFormat.allCases {
            let plain = cache.answer(format, gzip: false)
            let packed = cache.answer(format, gzip: true)
            #expect(!plain.isGzip && packed.isGzip)
            #expect(packed.bytes.readableBytes * 4 < plain.bytes.readableBytes)
            #expect(Array(packed.bytes.readableBytesView.prefix(2)) == [0x1F, 0x8B])
        }
        #expect(String(buffer: cache.answer(.openMetrics, gzip: false).bytes).hasSuffix("\n# EOF\n"))
    }

    @Test func `the peak of the last minute is kept for every reader`() {
        let time = ManualTime()
        let next = Mutex([5, 0, 0, 3])
        let reading = PoolReading(time: time) {
            var pool = HTTPSamples.pool()
            pool.waitingPeak = next.withLock { $0.isEmpty ? 0 : $0.removeFirst() }
            return pool
        }
        #expect(reading.current().waitingPeak == 5)
        #expect(reading.current().waitingPeak == 5)
        time.advance(by: .seconds(30))
        #expect(reading.current().waitingPeak == 5)
        time.advance(by: .seconds(20))
        #expect(reading.current().waitingPeak == 5)
        time.advance(by: .seconds(11))
        #expect(reading.current().waitingPeak == 3)
        time.advance(by: .seconds(60))
        #expect(reading.current().waitingPeak == 0)
    }
}
