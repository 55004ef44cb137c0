@testable import AppCore
@testable import Probes
import Vitals

@testable import healthd

/// One of everything, as the daemon's parts would hand it over: for rendering without running.
enum HTTPSamples {
    static let wall = WallTime(secondsSince1970: 1_800_000_000)

    static let identity = ProgramIdentity(
        name: "app-1", version: "0.1.0", swift: "6.3", libpq: "15.14", startedAt: wall,
        startedInstant: MonotonicInstant(nanoseconds: 0), bootID: "boot")

    static func histogram(_ count: Int = 3) -> HistogramSnapshot {
        HistogramSnapshot(bounds: Histogram.latencyBounds, counts: [Int](repeating: count, count: 16), sum: Double(count) / 8)
    }

    static func pool(leased: Int = 2, max: Int = 2, waiting: Int = 1) -> PoolStatistics {
        PoolStatistics(
            max: max, min: 1, idle: max - leased, leased: leased, connecting: 0, recovering: 0, retiring: 0, waiting: waiting,
            waitingPeak: waiting,
            oldestWait: waiting > 0 ? .milliseconds(400) : nil, oldestLeaseAge: leased > 0 ? .seconds(2) : nil, unavailable: nil,
            busySeconds: 12.5, exhaustedSeconds: 0.25, opened: 3,
            closed: [.idle: 1, .error: 0], leaksSuspected: 0, acquire: [.immediate: histogram(), .timeout: histogram(1)],
            use: histogram(),
            createSucceeded: histogram(), createFailed: histogram(0),
            query: [
                QueryKind(operation: .select, outcome: .ok): histogram(),
                QueryKind(operation: .delete, outcome: .error): histogram(0),
            ],
            queryErrorsBySQLStateClass: ["23": 0, "other": 1],
            shed: [ShedKey(workClass: .interactive, reason: .tooLate): 3])
    }

    static func holders(purpose: String = "demo.hold", statement: String = "SELECT pg_sleep($1)") -> PoolHolders {
        PoolHolders(
            holders: [
                .init(
                    purpose: purpose, workClass: .interactive, detail: "POST /api/demo/hold", statement: statement, fingerprint: "a1b2c3",
                    callSite: "healthd/OperationsRoutes.swift:61", age: .seconds(2), inTransaction: true, backendPID: 4711)
            ],
            waiters: [
                .init(
                    purpose: purpose, workClass: .background, detail: nil, callSite: "healthd/OperationsRoutes.swift:61", age: .milliseconds(400),
                    deadlineIn: .milliseconds(1_600))
            ])
    }

    /// A board whose pool has gone critical, with time that a test moves.
    static func board(saturation: Double = 1.5, time: ManualTime = ManualTime(wall: wall)) -> HealthBoard {
        let board = HealthBoard(rules: [.poolSaturation(), .answers("postgres"), .queryLatency()], time: time)
        record("pool", ["saturation": saturation], "2 of 2 leased, 1 waiting", on: board, time)
        record("postgres", [:], nil, on: board, time)
        record("queries", ["p99": 0.012], "40 statements", on: board, time)
        return board
    }

    static func record(
        _ name: String, _ values: [String: Double], _ summary: String?, on board: HealthBoard, _ time: ManualTime
    ) {
        board.record(sample(name, values, summary, time))
    }

    static func sample(_ name: String, _ values: [String: Double] = [:], _ summary: String? = nil, _ time: ManualTime) -> Sample {
        Sample(
            probe: ProbeID(name), component: ComponentID(name), at: time.now(), wall: time.wallNow(), duration: .milliseconds(2),
            interval: .seconds(1), result: .success(Measurement(values: values, summary: summary)))
    }

    static func alerts(reason: String = "pool saturation 150 %") -> AlertsSnapshot {
        AlertsSnapshot(
            open: [
                OpenAlert(
                    rule: "pool-saturation", component: "pool", fingerprint: "00ff", severity: .critical, phase: .firing,
                    since: wall + .seconds(-5), age: .seconds(5), reason: reason, value: 1.5, threshold: 0.95, peak: 1.5, unit: .ratio,
                    evidence: Evidence(holders: [.init(purpose: "demo.hold", statement: "SELECT pg_sleep($1)", ageSeconds: 2)]),
                    heldUntil: nil)
            ],
            receivers: [
                ReceiverStatus(
                    name: "oncall", host: "example.org", queued: 1, oldest: .seconds(4), attempts: [.ok: 2, .unreachable: 1],
                    lastSuccess: wall + .seconds(-90), lastError: "connection refused", lastErrorAt: wall, deadLetters: 0,
                    failingFor: .seconds(4), isDisabled: false, lag: histogram(1))
            ],
            suppressed: [.flapping: 0, .dedup: 1], outboxProblem: nil)
    }

    static func page(
        board: BoardSnapshot? = nil, holders: PoolHolders = holders(), look: BackendLook? = nil, alerts: AlertsSnapshot = alerts()
    ) -> PageModel {
        PageModel(
            PageSources(
                identity: identity, now: MonotonicInstant(nanoseconds: 7_500_000_000_000), board: board ?? self.board().snapshot(),
                recent: ["pool": [.ok, .ok, .timeout]], pool: pool(), waiterLimit: 200, holders: holders, look: look,
                alerts: alerts, figures: [.process(ProcessReading())]))
    }
}
