import AppCore
import Probes
import Vitals

/// Asks Redis itself, over a connection apart from the cache's.
enum RedisWatch {
    static func probe(_ connection: RedisConnection, interval: Duration, timeout: Duration, time: any TimeSource) -> Probe {
        Probe(id: "redis", component: "redis", interval: interval, timeout: timeout) {
            do {
                return measurement(try await connection.info(until: Deadline(time.now() + timeout)))
            } catch let error as RedisError {
                throw failure(error, timeout: timeout)
            }
        }
    }

    private static func measurement(_ info: [String: String]) -> Measurement {
        func number(_ field: String) -> Double? { info[field].flatMap { Double($0) } }
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

    static func failure(_ error: RedisError, timeout: Duration) -> ProbeFailure {
        let reason = reason(error, timeout: timeout).oneLine(limit: 200)
        return switch error.kind {
        case .refused: ProbeFailure(.refused, reason)
        case .timeout: ProbeFailure(.timeout, reason)
        case .auth: ProbeFailure(.auth, reason)
        case .full: ProbeFailure(.full, reason)
        case .other: ProbeFailure(.error, reason)
        }
    }

    private static func reason(_ error: RedisError, timeout: Duration) -> String {
        switch error {
        case .timeout, .cancelled: "no reply within \(timeout.text)"
        case .down(let reason, _), .connectionLost(let reason), .refused(let reason): reason
        case .tooManyPending: "\(error)"
        }
    }
}
