@testable import AppCore
@testable import Probes
import Testing
import Vitals

@testable import healthd

/// No number is exposed as its neighbour: here each is another one.
@Suite struct `Numbers and their names` {
    private func expect(_ lines: [String], in families: [MetricFamily], sourceLocation: SourceLocation = #_sourceLocation) {
        let exposed = Set(String(decoding: PrometheusText.render(families), as: UTF8.self).split(separator: "\n"))
        for line in lines { #expect(exposed.contains(line[...]), "\(line)", sourceLocation: sourceLocation) }
    }

    /// So many, all of them in the first bucket.
    private func times(_ count: Int) -> HistogramSnapshot {
        var counts = [Int](repeating: 0, count: Histogram.latencyBounds.count + 1)
        counts[0] = count
        return HistogramSnapshot(bounds: Histogram.latencyBounds, counts: counts, sum: 0)
    }

    @Test func `of the pool`() {
        var pool = HTTPSamples.pool()
        (pool.max, pool.min, pool.idle, pool.leased, pool.connecting, pool.recovering, pool.retiring) = (31, 32, 33, 34, 35, 36, 37)
        (pool.waiting, pool.waitingPeak, pool.opened, pool.leaksSuspected, pool.leaksReturned) = (38, 39, 40, 41, 42)
        (pool.batches, pool.batchedStatements, pool.isOverloaded) = (43, 44, true)
        (pool.createSucceeded, pool.createFailed, pool.use) = (times(45), times(46), times(47))
        pool.acquire = [.immediate: times(48), .timeout: times(49)]
        expect(
            [
                #"healthd_pool_connections_max{pool="main"} 31"#, #"healthd_pool_connections_min{pool="main"} 32"#,
                #"healthd_pool_connections{pool="main",state="idle"} 33"#, #"healthd_pool_connections{pool="main",state="in_use"} 34"#,
                #"healthd_pool_connections{pool="main",state="connecting"} 35"#, #"healthd_pool_connections{pool="main",state="recovering"} 36"#,
                #"healthd_pool_connections{pool="main",state="retiring"} 37"#, #"healthd_pool_waiters{pool="main"} 38"#,
                #"healthd_pool_waiters_peak{pool="main",window="60s"} 39"#, #"healthd_pool_opened_total{pool="main"} 40"#,
                #"healthd_pool_leaks_suspected_total{pool="main"} 41"#, #"healthd_pool_leaks_returned_total{pool="main"} 42"#,
                #"healthd_pool_batches_total{pool="main"} 43"#, #"healthd_pool_batched_statements_total{pool="main"} 44"#,
                #"healthd_pool_overloaded{pool="main"} 1"#, #"healthd_pool_create_duration_seconds_count{pool="main",outcome="ok"} 45"#,
                #"healthd_pool_create_duration_seconds_count{pool="main",outcome="error"} 46"#, #"healthd_pool_use_duration_seconds_count{pool="main"} 47"#,
                #"healthd_pool_acquire_duration_seconds_count{pool="main",outcome="immediate"} 48"#, #"healthd_pool_acquire_timeouts_total{pool="main"} 49"#,
            ], in: healthd.families(of: pool))
    }

    @Test func `of the cache`() {
        var cache = `Exposition of everything`.cache
        (cache.hits, cache.misses, cache.coalesced, cache.loadFailures, cache.stale) = ([.memory: 31, .redis: 32], 33, 34, 35, 36)
        (cache.fallbacks, cache.errors, cache.operations) = ([.down: 37, .slow: 38], [.get: 39, .set: 40], [.get: times(41), .set: times(42)])
        (cache.loadTime, cache.memoryBytes, cache.memoryLimit, cache.memoryEntries, cache.evictions) = (times(43), 44, 45, 46, 47)
        func requests(_ operation: String, _ result: String) -> String {
            "healthd_cache_requests_total{cache=\"workspace\",operation=\"\(operation)\",result=\"\(result)\"}"
        }
        expect(
            [
                "\(requests("get", "hit_memory")) 31", "\(requests("get", "hit_redis")) 32", "\(requests("get", "miss")) 33",
                #"healthd_cache_coalesced_total{cache="workspace"} 34"#, #"healthd_cache_load_failures_total{cache="workspace"} 35"#,
                "\(requests("get", "stale")) 36", #"healthd_cache_fallbacks_total{cache="workspace",reason="down"} 37"#,
                #"healthd_cache_fallbacks_total{cache="workspace",reason="slow"} 38"#, "\(requests("get", "error")) 39", "\(requests("set", "error")) 40",
                #"healthd_cache_operation_duration_seconds_count{cache="workspace",operation="get"} 41"#, "\(requests("set", "ok")) 42",
                #"healthd_cache_load_duration_seconds_count{cache="workspace"} 43"#, #"healthd_cache_memory_bytes{cache="workspace"} 44"#,
                #"healthd_cache_memory_limit_bytes{cache="workspace"} 45"#, #"healthd_cache_entries{cache="workspace"} 46"#,
                #"healthd_cache_evictions_total{cache="workspace"} 47"#,
            ], in: healthd.families(of: cache))
    }

    @Test func `of tasks and of their streams`() {
        var tasks = `Exposition of everything`.tasks
        (tasks.running, tasks.limit, tasks.retries, tasks.leasesLost, tasks.oldestQueued) = (31, 32, 33, 34, .seconds(35))
        (tasks.queue, tasks.run) = (times(36), [.succeeded: times(37), .timeout: times(38)])
        expect(
            [
                #"healthd_tasks{queue="main",state="running"} 31"#, #"healthd_tasks_limit{queue="main"} 32"#, #"healthd_task_retries_total{queue="main"} 33"#,
                #"healthd_task_leases_lost_total{queue="main"} 34"#, #"healthd_task_oldest_queued_age_seconds{queue="main"} 35"#,
                #"healthd_task_queue_duration_seconds_count{queue="main"} 36"#, #"healthd_task_duration_seconds_count{queue="main",outcome="succeeded"} 37"#,
                #"healthd_task_duration_seconds_count{queue="main",outcome="timeout"} 38"#,
            ], in: healthd.families(of: tasks))
        let streams = EventHubStatistics(clients: 31, limit: 32, sent: ["reset": 33], dropped: 34, resumes: [.complete: 35, .gap: 36], backlogPeak: 37)
        expect(
            [
                "healthd_sse_clients 31", "healthd_sse_clients_max 32", #"healthd_sse_events_sent_total{event="reset"} 33"#,
                #"healthd_sse_events_dropped_total{reason="slow_client"} 34"#, #"healthd_sse_resumes_total{result="complete"} 35"#,
                #"healthd_sse_resumes_total{result="gap"} 36"#, "healthd_sse_backlog_peak 37",
            ], in: healthd.families(of: streams))
    }

    @Test func `of the servers`() {
        let postgres = [
            "deadlocks": 31.0, "temp_bytes": 32, "lock_waiters": 33, "lock_wait_oldest_seconds": 34, "idle_in_transaction_oldest_seconds": 35,
            "transactions_commit": 36, "transactions_rollback": 37, "buffer_reads_cache": 38, "buffer_reads_disk": 39, "backends_max": 40,
            "backends_active": 41, "backends_waiting": 42,
        ]
        expect(
            [
                "deadlocks_total{target=\"postgres\"} 31", "temp_bytes_total{target=\"postgres\"} 32", "lock_waiters{target=\"postgres\"} 33",
                "lock_wait_oldest_seconds{target=\"postgres\"} 34", "idle_in_transaction_oldest_seconds{target=\"postgres\"} 35",
                "transactions_total{target=\"postgres\",outcome=\"commit\"} 36", "transactions_total{target=\"postgres\",outcome=\"rollback\"} 37",
                "buffer_reads_total{target=\"postgres\",source=\"cache\"} 38", "buffer_reads_total{target=\"postgres\",source=\"disk\"} 39",
                "backends_max{target=\"postgres\"} 40", "backends{target=\"postgres\",state=\"active\"} 41",
                "backends{target=\"postgres\",state=\"waiting\"} 42",
            ].map { "healthd_postgres_\($0)" }, in: healthd.families(ofPostgres: Measurement(values: postgres)))
        let redis = [
            "clients_connected": 31.0, "clients_blocked": 32, "clients_max": 33, "memory_used_bytes": 34, "memory_limit_bytes": 35,
            "rejected_connections": 36, "evicted_keys": 37,
        ]
        expect(
            [
                "clients{target=\"redis\",state=\"connected\"} 31", "clients{target=\"redis\",state=\"blocked\"} 32", "clients_max{target=\"redis\"} 33",
                "memory_used_bytes{target=\"redis\"} 34", "memory_limit_bytes{target=\"redis\"} 35", "rejected_connections_total{target=\"redis\"} 36",
                "evicted_keys_total{target=\"redis\"} 37",
            ].map { "healthd_redis_\($0)" }, in: healthd.families(ofRedis: Measurement(values: redis)))
    }

    @Test func `of this process, its log and its clients`() {
        var process = ProcessReading()
        (process.cpuSeconds, process.threads, process.residentBytes, process.peakResidentBytes) = (31, 32, 33, 34)
        (process.virtualBytes, process.openFDs, process.maxFDs, process.startTimeSeconds) = (35, 36, 72, 38)
        expect(
            [
                "process_cpu_seconds_total 31", "process_threads 32", "process_resident_memory_bytes 33", "process_resident_memory_peak_bytes 34",
                "process_virtual_memory_bytes 35", "process_open_fds 36", "process_max_fds 72", "process_start_time_seconds 38",
            ], in: healthd.families(of: process))
        var lifecycle = LifecycleReading()
        (lifecycle.watchdogPingsSent, lifecycle.watchdogPingsWithheld, lifecycle.noticesFailed, lifecycle.logLinesDropped) = (31, 32, 33, 34)
        expect(
            [
                #"healthd_watchdog_pings_total{result="sent"} 31"#, #"healthd_watchdog_pings_total{result="withheld"} 32"#,
                "healthd_systemd_notices_failed_total 33", "healthd_log_dropped_lines_total 34",
            ], in: healthd.families(of: lifecycle))
        let connections = Connections.Snapshot(maximum: 40, phases: [.header: 4, .idle: 6], waiting: 33, waited: .seconds(34))
        expect(
            [
                "healthd_http_connections_max 40", #"healthd_http_connections{state="header"} 4"#, #"healthd_http_connections{state="idle"} 6"#,
                "healthd_http_connections_waiting 33", "healthd_http_connections_waiting_seconds_total 34",
            ], in: healthd.families(of: connections))

        // As full as what is used of what there is.
        let reading = process
        var snapshots = `Exposition of everything`.snapshots(ManualTime(wall: HTTPSamples.wall))
        snapshots.process = { reading }
        snapshots.connections = { connections }
        expect(
            [
                #"healthd_saturation_ratio{resource="fds",target="healthd"} 0.5"#,
                #"healthd_saturation_ratio{resource="http_connections",target="healthd"} 0.25"#,
            ], in: snapshots.families())
    }
}
