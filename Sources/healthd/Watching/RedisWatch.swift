import AppCore
import Probes
import Synchronization
import Vitals

/// Asks Redis itself, over a connection apart from the cache's, and whether the cache can use it.
///
/// A Redis that does not let us look answers all the same: what it holds is then absent, and nothing is down.
enum RedisWatch {
    /// What keeps the cache from a Redis that answers is told after this time. The cache's own connection rests for up to 2.4 s between two
    /// attempts, so a restart is over by then.
    static let patience = Duration.seconds(5)

    /// - Parameter obstacle: what keeps the cache from Redis at present.
    static func probe(
        _ connection: RedisConnection, interval: Duration, timeout: Duration, time: any TimeSource,
        obstacle: @escaping @Sendable () -> RedisObstacle? = { nil }
    ) -> Probe {
        let judge = Judge()
        return Probe(id: "redis", component: "redis", interval: interval, timeout: timeout) {
            let info: [String: String]?
            do {
                info = try await connection.info(until: Deadline(time.now() + timeout))
            } catch let error as RedisError {
                judge.doesNotAnswer()
                throw failure(error, timeout: timeout)
            }
            if let obstacle = judge.lasting(obstacle(), at: time.now()) { throw failure(obstacle) }
            return info.map(measurement) ?? Measurement(summary: "it answers; INFO is not for this user")
        }
    }

    /// Tells an obstacle that lasts although Redis answers from one that will be gone in a moment.
    final class Judge: Sendable {
        private let answersSince = Mutex<MonotonicInstant?>(nil)

        func doesNotAnswer() { answersSince.withLock { $0 = nil } }

        func lasting(_ obstacle: RedisObstacle?, at now: MonotonicInstant) -> RedisObstacle? {
            let since = answersSince.withLock { answersSince in
                answersSince = answersSince ?? now
                return answersSince ?? now
            }
            guard let obstacle, now - max(obstacle.since, since) >= RedisWatch.patience else { return nil }
            return obstacle
        }
    }

    private static func measurement(_ info: [String: String]) -> Measurement {
        func number(_ field: String) -> Double? { info[field].flatMap { Double($0)?.ifFinite } }
        var values: [String: Double] = [:]
        values["clients_connected"] = number("connected_clients")
        values["clients_blocked"] = number("blocked_clients")
        values["clients_max"] = number("maxclients")
        values["memory_used_bytes"] = number("used_memory")
        // 0 is Redis' way to say that there is no limit.
        if let limit = number("maxmemory"), limit > 0 { values["memory_limit_bytes"] = limit }
        values["rejected_connections"] = number("rejected_connections")
        values["evicted_keys"] = number("evicted_keys")
        var facts: [String: String] = [:]
        facts["version"] = info["redis_version"]
        facts["role"] = info["role"]
        return Measurement(values: values, facts: facts, summary: info["connected_clients"].map { "\($0) clients" })
    }

    static func failure(_ error: RedisError, timeout: Duration) -> ProbeFailure { failure(error.kind, reason(error, timeout: timeout)) }

    static func failure(_ obstacle: RedisObstacle) -> ProbeFailure { failure(obstacle.kind, obstacle.reason) }

    private static func failure(_ kind: RedisError.Kind, _ reason: String) -> ProbeFailure {
        let reason = reason.oneLine(limit: 300)
        return switch kind {
        case .refused: ProbeFailure(.unreachable, reason)
        case .timeout: ProbeFailure(.timeout, reason)
        case .auth: ProbeFailure(.auth, reason)
        case .full: ProbeFailure(.full, reason)
        case .other: ProbeFailure(.error, reason)
        }
    }

    private static func reason(_ error: RedisError, timeout: Duration) -> String {
        switch error {
        case .timeout, .cancelled: "no reply within \(timeout.text)"
        case .down(let reason, _), .connectionLost(let reason): reason
        case .refused, .tooManyPending: error.explained
        }
    }
}
