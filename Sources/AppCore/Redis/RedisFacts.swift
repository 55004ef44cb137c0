public import Vitals

extension RedisConnection {
    /// A round trip, and how long it took.
    ///
    /// - Throws: `RedisError`.
    public func ping(until deadline: Deadline? = nil) async throws(RedisError) -> Duration {
        let began = MonotonicInstant.now()
        _ = try await command(["PING"], until: deadline)
        return .now() - began
    }

    /// What `INFO` says, by field name: `used_memory`, `connected_clients`, `redis_version` and so on.
    ///
    /// - Throws: `RedisError`.
    public func info(until deadline: Deadline? = nil) async throws(RedisError) -> [String: String] {
        RedisInfo.fields(try await command(["INFO"], until: deadline).text ?? "")
    }
}

enum RedisInfo {
    /// Lines `name:value`; comments and anything else are left out.
    static func fields(_ text: String) -> [String: String] {
        var fields: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[String(line[..<colon])] = String(line[line.index(after: colon)...])
        }
        return fields
    }
}
