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

    /// What `INFO` says, by field name: `used_memory`, `connected_clients`, `redis_version` and so on. Nil from a server that answers, and
    /// does not let this user look.
    ///
    /// A replica that takes no writes is an error, and the link to it is given up: another server may stand behind the address by now.
    ///
    /// - Throws: `RedisError`.
    public func info(until deadline: Deadline? = nil) async throws(RedisError) -> [String: String]? {
        do throws(RedisError) {
            let fields = RedisInfo.fields(try await command(["INFO"], until: deadline).text ?? "")
            if fields["role"] == "slave", fields["slave_read_only"] == "1" { throw leave(.isReplica) }
            return fields
        } catch {
            guard error.isForbidden else { throw error }
        }
        do throws(RedisError) {
            _ = try await ping(until: deadline)
        } catch {
            guard error.isAnswerToPing else { throw error }
        }
        return nil
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
