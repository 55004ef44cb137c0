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

    private func lines(of families: [MetricFamily]) -> Set<Substring> {
        Set(String(decoding: PrometheusText.render(families), as: UTF8.self).split(separator: "\n"))
    }

    @Test(arguments: [
        #"healthd_pool_connections{pool="main",state="idle"} 0"#, #"healthd_pool_connections{pool="main",state="in_use"} 2"#,
        #"healthd_pool_connections_max{pool="main"} 2"#, #"healthd_pool_connections_min{pool="main"} 1"#,
        #"healthd_pool_oldest_wait_seconds{pool="main"} 0.4"#, #"healthd_pool_oldest_checkout_age_seconds{pool="main"} 2"#,
        #"healthd_pool_busy_seconds_total{pool="main"} 12.5"#, #"healthd_pool_exhausted_seconds_total{pool="main"} 0.25"#,
        #"healthd_pool_acquire_timeouts_total{pool="main"} 16"#, #"healthd_pool_shed_total{pool="main",class="interactive",reason="too_late"} 3"#,
        #"healthd_cache_requests_total{cache="workspace",operation="get",result="hit_memory"} 8"#,
        #"healthd_cache_requests_total{cache="workspace",operation="get",result="miss"} 1"#,
        #"healthd_cache_memory_bytes{cache="workspace"} 4096"#, #"healthd_cache_memory_limit_bytes{cache="workspace"} 33554432"#,
        #"healthd_tasks{queue="main",state="queued"} 4"#, #"healthd_tasks{queue="main",state="running"} 2"#, #"healthd_tasks_limit{queue="main"} 50"#,
        "healthd_sse_clients 1", "healthd_sse_clients_max 200",
        #"healthd_alerts{severity="critical",state="firing"} 1"#, #"healthd_alerts{severity="degraded",state="firing"} 0"#,
        #"healthd_alert_notifications_total{receiver="oncall",result="ok"} 2"#, #"healthd_alert_queue_length{receiver="oncall"} 1"#,
        #"healthd_alert_dead_letters_total{receiver="oncall"} 0"#, #"healthd_health_severity{component="pool"} 3"#,
        #"healthd_rule_threshold{rule="pool-saturation",level="degraded",edge="enter"} 0.8"#,
        #"healthd_rule_threshold{rule="pool-saturation",level="degraded",edge="leave"} 0.7"#,
        #"healthd_rule_threshold{rule="pool-saturation",level="critical",edge="enter"} 0.95"#,
        #"healthd_postgres_transactions_total{target="postgres",outcome="commit"} 7"#,
        #"healthd_postgres_buffer_reads_total{target="postgres",source="disk"} 10"#, #"healthd_redis_clients_max{target="redis"} 10000"#,
        #"healthd_watchdog_pings_total{result="sent"} 3"#, #"healthd_watchdog_pings_total{result="withheld"} 0"#, "healthd_watchdog_interval_seconds 5",
    ])
    func `each number stands under its own name and labels`(line: String) {
        #expect(lines(of: Self.snapshots(ManualTime(wall: HTTPSamples.wall)).families()).contains(line[...]))
    }

    @Test func `a resource is as full as what is used of what there is`() {
        let lines = lines(of: Self.snapshots(ManualTime(wall: HTTPSamples.wall)).families())
        for (resource, target, ratio) in [
            ("postgres_backends", "postgres", "0.1"), ("redis_clients", "redis", "0.0002"), ("redis_memory", "redis", "0.03125"),
            ("task_queue", "main", "0.04"), ("sse_clients", "main", "0.005"),
        ] {
            #expect(lines.contains("healthd_saturation_ratio{resource=\"\(resource)\",target=\"\(target)\"} \(ratio)"), "\(resource)")
        }
        // No limit, or none that is known: not full, and not empty either.
        for limit in [nil, 0.0] { #expect(SaturationReading("fds", target: "healthd", used: 7, of: limit).ratio == nil) }
    }

    @Test func `a reload that was refused shows, with when the last good one was`() {
        let refused = lines(of: healthd.families(of: LifecycleReading(lastReloadSucceeded: false, lastGoodReload: HTTPSamples.wall)))
        #expect(refused.contains("healthd_config_last_reload_success 0"))
        #expect(refused.contains("healthd_config_last_reload_success_timestamp_seconds 1800000000"))
        #expect(lines(of: healthd.families(of: LifecycleReading())).contains("healthd_config_last_reload_success 1"))
    }

    @Test func `the looks shown of a component are its last ones`() {
        let time = ManualTime()
        let recent = RecentSamples()
        var failed = HTTPSamples.sample("pool", [:], nil, time)
        failed.result = .failure(ProbeFailure(.timeout, "no reply within 500 ms"))
        recent.record(failed)
        for _ in 0..<RecentSamples.limit { recent.record(HTTPSamples.sample("pool", ["saturation": 0.1], nil, time)) }
        #expect(recent.outcomes["pool"] == Array(repeating: ProbeOutcome.ok, count: RecentSamples.limit))
        recent.record(failed)
        #expect(recent.outcomes["pool"] == Array(repeating: ProbeOutcome.ok, count: RecentSamples.limit - 1) + [.timeout])
        // What was found before it failed stands until it is stale.
        #expect(recent.measurement(of: "pool", at: time.now())?.values["saturation"] == 0.1)
        #expect(recent.count == RecentSamples.limit + 2)
    }
}
