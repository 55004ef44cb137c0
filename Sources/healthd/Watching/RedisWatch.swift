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
        switch error {
        case .timeout, .cancelled: ProbeFailure(.timeout, "no reply within \(timeout.text)")
        // A server that takes connections and does not answer is frozen, not gone.
        case .down(let reason, _) where reason.contains("no answer"): ProbeFailure(.timeout, "takes connections, but does not answer")
        case .down(let reason, _), .connectionLost(let reason): ProbeFailure(.refused, reason.oneLine(limit: 200))
        case .refused(let message) where message.hasPrefix("NOAUTH") || message.hasPrefix("WRONGPASS"): ProbeFailure(.auth, message.oneLine(limit: 200))
        case .refused(let message) where message.contains("max number of clients"): ProbeFailure(.full, message.oneLine(limit: 200))
        case .refused(let message): ProbeFailure(.error, message.oneLine(limit: 200))
        }
    }
}
