@testable import AppCore
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
@testable import Probes
import Testing
import Vitals

@testable import healthd

@Suite struct `HTTP documents` {
    private func json(_ response: Response) async throws -> JSONValue {
        let collector = BodyCollector()
        try await response.body.write(collector)
        return try #require(JSONValue(text: collector.text))
    }

    @Test(arguments: [(0.1, "pass"), (0.85, "warn"), (1.5, "fail")])
    func `the health document follows the verdict`(saturation: Double, status: String) async throws {
        let document = HealthDocument(HTTPSamples.board(saturation: saturation).snapshot(), identity: HTTPSamples.identity)
        #expect(document.status.rawValue == status)
        let json = try await json(.json(document))
        guard case .array(let checks)? = json["checks"]?["pool"] else {
            Issue.record("no check of the pool")
            return
        }
        #expect(checks[0]["observedValue"]?.doubleValue == saturation)
        #expect(checks[0]["thresholds"]?["degraded"]?.doubleValue == 0.8)
        #expect(checks[0]["thresholds"]?["leaveDegraded"]?.doubleValue == 0.7)
        #expect(checks[0]["status"]?.stringValue == status)
        #expect(checks[0]["reason"]?.stringValue?.hasPrefix("pool saturation") == true)
        #expect((checks[0]["output"] == nil) == (status == "pass"))
        #expect(checks[0]["since"]?.stringValue == "2027-01-15T08:00:00.000Z")
        #expect(checks[0]["ageSeconds"]?.doubleValue == 0)
    }

    @Test func `a check is as old as its look, and of a component the worst stands first`() async throws {
        let time = ManualTime(wall: HTTPSamples.wall)
        // By their names the one that is well would come first.
        let good = Rule(
            name: "a-rule", component: "pool", probe: "pool", condition: .value(Rule.Value("idle", degraded: 100, critical: nil)), leaveAfter: .zero)
        let board = HealthBoard(rules: [good, .poolSaturation()], time: time)
        HTTPSamples.record("pool", ["saturation": 1.5, "idle": 0], nil, on: board, time)
        time.advance(by: .seconds(2))
        let json = try await json(.json(HealthDocument(board.snapshot(), identity: HTTPSamples.identity)))
        guard case .array(let checks)? = json["checks"]?["pool"] else {
            Issue.record("no checks of the pool")
            return
        }
        #expect(checks.map { $0["rule"]?.stringValue } == ["pool-saturation", "a-rule"])
        #expect(checks[0]["ageSeconds"]?.doubleValue == 2)
        #expect(checks[0]["time"]?.stringValue == "2027-01-15T08:00:00.000Z" && checks[0]["since"]?.stringValue == "2027-01-15T08:00:00.000Z")
    }

    @Test func `what was never seen is warned of, without a value`() async throws {
        let board = HealthBoard(rules: [.answers("redis")], time: ManualTime())
        let document = HealthDocument(board.snapshot(), identity: HTTPSamples.identity)
        #expect(document.status == .warn)
        let json = try await json(.json(document))
        guard case .array(let checks)? = json["checks"]?["redis"] else {
            Issue.record("no check of redis")
            return
        }
        #expect(checks[0]["state"]?.stringValue == "unknown")
        #expect(checks[0]["observedValue"] == nil && checks[0]["time"] == nil)
    }

    @Test(arguments: [
        (HealthState.healthy, "healthy"), (.degraded, "degraded"), (.critical, "critical"), (.unknown, "degraded"),
    ])
    func `the pool's document has exactly four keys in their order`(state: HealthState, word: String) {
        #expect(
            PoolHealthDocument(HTTPSamples.pool(), state: state).text
                == #"{"totalCount":2,"idleCount":0,"waitingCount":1,"status":"\#(word)"}"#)
    }

    @Test func `holders and waiters with their times`() async throws {
        let json = try await json(.json(PoolHoldersDocument(HTTPSamples.holders(), max: 2, asOf: HTTPSamples.wall)))
        guard case .array(let holders)? = json["holders"], case .array(let waiters)? = json["waiters"] else {
            Issue.record("no lists")
            return
        }
        #expect(holders[0]["since"]?.stringValue == "2027-01-15T07:59:58.000Z")
        #expect(holders[0]["statement"]?.stringValue == "SELECT pg_sleep($1)")
        #expect(holders[0]["backendPid"]?.intValue == 4711)
        #expect(waiters[0]["deadlineInSeconds"]?.doubleValue == 1.6)
    }

    @Test func `alerts show a receiver's host, never its address`() async throws {
        let json = try await json(.json(AlertsDocument(HTTPSamples.alerts(), asOf: HTTPSamples.wall)))
        guard case .array(let alerts)? = json["alerts"], case .array(let receivers)? = json["receivers"] else {
            Issue.record("no lists")
            return
        }
        #expect(alerts[0]["state"]?.stringValue == "firing")
        #expect(alerts[0]["ageSeconds"]?.doubleValue == 5)
        #expect(receivers[0]["host"]?.stringValue == "example.org")
        #expect(receivers[0]["attempts"]?["unreachable"]?.intValue == 1)
        #expect(receivers[0]["isWell"] == false)
    }

    @Test(arguments: [
        (nil, false, true, "took the last notice at 07:58:30 UTC"), (.seconds(4), false, false, "fails for 4 s: connection refused"),
        (nil, true, false, "disabled: it answered 410; a reload tries it again"), (.seconds(4), true, false, "disabled: it answered 410; a reload tries it again"),
    ] as [(Duration?, Bool, Bool, String)])
    func `a receiver is well when it takes what it is sent, and is not disabled`(failing: Duration?, isDisabled: Bool, isWell: Bool, note: String) async throws {
        var alerts = HTTPSamples.alerts()
        alerts.receivers[0].failingFor = failing
        alerts.receivers[0].isDisabled = isDisabled
        let json = try await json(.json(AlertsDocument(alerts, asOf: HTTPSamples.wall)))
        guard case .array(let receivers)? = json["receivers"] else {
            Issue.record("no receivers")
            return
        }
        #expect(receivers[0]["isWell"] == .bool(isWell) && receivers[0]["isDisabled"] == .bool(isDisabled))
        let shown = try #require(HTTPSamples.page(alerts: alerts).receivers.first)
        #expect(shown.isWell == isWell && shown.note == note, "\(shown.note)")
    }

    @Test(arguments: [
        (["a", "b"], [] as [String], false, true, "ok"),
        (["a", "b"], [], true, true, "[+]a ok\n[+]b ok\nreadyz check passed\n"),
        (["a", "!b"], [], false, false, "[+]a ok\n[-]b failed: broken\nreadyz check failed\n"),
        (["a", "!b"], ["b"], false, true, "ok"),
        (["!b"], ["b"], true, true, "[+]b excluded: ok\nreadyz check passed\n"),
        (
            ["a"], ["c"], true, true,
            "[+]a ok\nwarn: some health checks cannot be excluded: no matches for \"c\"\nreadyz check passed\n"
        ),
        (["a", "?b"], [], false, true, "ok"),
        (["a", "?b"], [], true, true, "[+]a ok\n[-]b not well, and not required: broken\nreadyz check passed\n"),
    ])
    func `readiness in lines`(checks: [String], excluded: [String], verbose: Bool, isGood: Bool, text: String) {
        let checks = checks.map { check in
            let name = check.filter { $0.isLetter }
            return SelfCheck(name, isRequired: !check.hasPrefix("?")) { check == name ? nil : "broken" }
        }
        let report = CheckReport("readyz", checks: checks, excluded: excluded, verbose: verbose)
        #expect(report.isGood == isGood)
        #expect(report.text == text)
    }

    static let picture = PoolPicture(leased: 2, idle: 0, connecting: 0, waiting: 3, max: 2)

    @Test(
        arguments: [
            (
                RequestProblem.invalid(field: "type", reason: "is \"x\"; expected y"), 400, "invalid", nil,
                "type is \"x\"; expected y"
            ),
            (RequestProblem.notFound(what: "task 7"), 404, "not_found", nil, "task 7 does not exist"),
            (RequestProblem.conflict("task 7 is done"), 409, "conflict", nil, "task 7 is done"),
            (
                PoolError.saturated(picture, waited: .seconds(2), retryAfter: .milliseconds(300)), 503, "pool_saturated", 1,
                "no connection within 2 s (leased 2 of 2"
            ),
            (
                PoolError.saturated(picture, waited: .zero, retryAfter: .seconds(2), reason: .queueFull), 503, "pool_saturated", 2,
                "refused at once, the queue is full (leased 2 of 2"
            ),
            (
                PoolError.databaseUnavailable(cause: "connection refused", since: .seconds(4), nextAttemptIn: .seconds(3)), 503,
                "database_unavailable", 3, "connection refused"
            ),
            (PoolError.shuttingDown, 503, "shutting_down", 5, "stopping"),
            (PostgresError.deadlineExceeded(after: .seconds(2)), 504, "deadline_exceeded", 1, "2 s"),
            (PostgresError.connectTimedOut("db, port 5432", after: .seconds(2)), 503, "database_unavailable", 1, "db, port 5432"),
            (PostgresError.connectionLost("gone"), 503, "database_unavailable", 1, "gone"),
            (
                PostgresError.server(ServerError(sqlState: "42P01", message: "relation \"x\" does not exist")), 503,
                "schema_missing", nil,
                "healthd migrate up"
            ),
            (PostgresError.server(ServerError(sqlState: "53300", message: "too many connections")), 503, "database_unavailable", 1, "too many connections"),
            (PostgresError.server(ServerError(sqlState: "53100", message: "could not extend file")), 503, "database_unavailable", 1, "could not extend"),
            (PostgresError.server(ServerError(sqlState: "57P01", message: "terminating connection")), 503, "database_unavailable", 1, "terminating"),
            (PostgresError.server(ServerError(sqlState: "57014", message: "canceling statement")), 503, "database_busy", 1, "canceling"),
            (PostgresError.server(ServerError(sqlState: "55P03", message: "canceling statement due to lock timeout")), 503, "database_busy", 1, "lock timeout"),
            (PostgresError.server(ServerError(sqlState: "40001", message: "could not serialize access")), 503, "database_busy", 1, "serialize"),
            (PostgresError.server(ServerError(sqlState: "40P01", message: "deadlock detected")), 503, "database_busy", 1, "deadlock"),
            (PostgresError.server(ServerError(sqlState: "0A000", message: "cached plan must not change result type")), 503, "database_busy", 1, "migration"),
            (PostgresError.server(ServerError(sqlState: "25006", message: "cannot execute UPDATE")), 503, "database_read_only", 5, "takes no writes"),
            (PostgresError.server(ServerError(sqlState: "42501", message: "permission denied for table x")), 503, "database_refused", nil, "grant"),
            (PostgresError.server(ServerError(sqlState: "23505", message: "secret row", constraint: "one_each")), 409, "conflict", nil, "one_each"),
            (PostgresError.server(ServerError(sqlState: "22012", message: "secret row")), 500, "internal", nil, "in its log"),
            (PostgresError.server(ServerError(sqlState: "22021", message: "secret row")), 400, "invalid", nil, "NUL"),
            (PostgresError.server(ServerError(sqlState: "22P05", message: "secret row")), 400, "invalid", nil, "NUL"),
            (NIOTooManyBytesError(maxBytes: 5), 413, "body_too_large", nil, "1024 KiB"),
        ] as [(any Error, Int, String, Int?, String)])
    func `D12: an error has one answer`(error: any Error, status: Int, code: String, retryAfter: Int?, part: String) async throws {
        let response = ErrorAnswer(error).response
        #expect(response.status.code == status)
        let json = try await json(response)
        #expect(json["error"]?.stringValue == code)
        #expect(json["retryAfter"]?.intValue == retryAfter)
        #expect(response.headers[.retryAfter] == retryAfter.map { "\($0)" })
        #expect(json["message"]?.stringValue?.contains(part) == true, "\(json)")
        #expect(json["message"]?.stringValue?.contains("secret row") == false)
    }
}

/// Keeps what a response writes.
final class BodyCollector: ResponseBodyWriter {
    private var bytes = ByteBuffer()

    var text: String { String(buffer: bytes) }

    func write(_ buffer: ByteBuffer) async throws { bytes.writeImmutableBuffer(buffer) }

    func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
