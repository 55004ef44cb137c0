import AppCore
import Probes
import Vitals

extension Configuration {
    /// Every setting in force as `key = value`, sorted by key, secrets as `<redacted>`: for `check-config`, logs and the digest.
    var lines: [String] {
        var lines = settings.map { "\($0.key) = \($0.value)".oneLine(limit: .max) }
        lines.sort()
        return lines
    }

    /// SHA-256 of `lines` in hexadecimal. Two daemons with the same digest run with the same settings, their secrets aside.
    var digest: String { SHA256.hexadecimal(lines.joined(separator: "\n")) }

    /// Key by key, as the file would have it.
    var settings: [String: String] {
        var settings = [
            "listen": "\(listen)", "external-url": externalURL?.description ?? "(this machine's name)", "state": state,
            "database.pool.max": "\(pool.max)", "database.pool.min": "\(pool.min)",
            "database.pool.idle": pool.idleTimeout.settingText,
            "database.pool.connect": pool.connectTimeout.settingText, "database.pool.deadline": pool.deadline.settingText,
            "database.pool.lifetime": pool.lifetime.settingText, "database.pool.waiters": "\(pool.waiters)",
            "database.pool.reserved": "\(pool.reserved)", "database.pool.batching": pool.batching ? "on" : "off",
            "database.pool.prepared": pool.prepared.rawValue,
            "cache.ttl": cache.ttl.settingText, "cache.memory": "\(cache.memory)", "cache.deadline": cache.deadline.settingText,
            "tasks.concurrency": "\(tasks.concurrency)", "tasks.per-workspace": "\(tasks.perWorkspace)",
            "probes.interval": probes.interval.settingText, "probes.timeout": probes.timeout.settingText,
        ]
        settings["database.url"] =
            switch database {
            case .external(let keywords): "\(keywords)"
            case .embedded: "(embedded)"
            }
        settings["cache.url"] =
            switch cache.choice {
            case .redis(let endpoint): "\(endpoint)"
            case .embedded: "(embedded)"
            case .memoryOnly: "(memory only)"
            }
        for rule in rules { settings.merge(rule.settings) { first, _ in first } }
        for (number, receiver) in receivers.enumerated() {
            settings["receivers[\(number)].name"] = receiver.name
            settings["receivers[\(number)].webhook"] = "(an address at \(receiver.host))"
            settings["receivers[\(number)].secret-file"] = receiver.secrets.isEmpty ? "(none)" : "<redacted>"
        }
        return settings
    }
}
