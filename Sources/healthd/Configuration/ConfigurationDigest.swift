import Crypto
import Vitals

extension Configuration {
    /// Every setting in force as `key = value`, sorted by key, secrets as `<redacted>`: for `check-config`, logs and the digest.
    var lines: [String] {
        var lines = settings.map { "\($0.key) = \($0.value)" }
        lines.sort()
        return lines
    }

    /// SHA-256 of `lines` in hexadecimal. Two daemons with the same digest run with the same settings, their secrets aside.
    var digest: String {
        SHA256.hash(data: Array(lines.joined(separator: "\n").utf8))
            .map { byte in
                let hex = String(byte, radix: 16)
                return hex.count == 1 ? "0\(hex)" : hex
            }
            .joined()
    }

    /// Key by key, as the file would have it.
    var settings: [String: String] {
        var settings = [
            "listen": "\(listen)", "state": state,
            "database.pool.max": "\(pool.max)", "database.pool.min": "\(pool.min)", "database.pool.idle": pool.idle.settingText,
            "database.pool.connect": pool.connect.settingText, "database.pool.deadline": pool.deadline.settingText,
            "database.pool.lifetime": pool.lifetime.settingText, "database.pool.waiters": "\(pool.waiters)",
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
            settings["receivers[\(number)].webhook"] = receiver.place
            settings["receivers[\(number)].secret-file"] = receiver.secret == nil ? "(none)" : "<redacted>"
        }
        return settings
    }
}

extension Configuration.Receiver {
    /// Scheme and host alone: the path of a webhook is often its password.
    var place: String {
        let parts = webhook.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count >= 3 else { return "<redacted>" }
        let authority = parts[2].split(separator: "@").last ?? ""
        return "\(parts[0])//\(authority.prefix { !"?#".contains($0) })/…"
    }
}

extension RuleSettings {
    fileprivate var settings: [String: String] {
        func text(_ edge: Double?) -> String {
            guard let edge else { return "off" }
            return unit == .ratio ? "\(edge)" : Duration.nanoseconds(Int64((edge * 1e9).rounded())).settingText
        }
        let path = "rules.\(name.rawValue)"
        var settings = [
            "\(path).degraded": text(degraded), "\(path).critical": text(critical), "\(path).leave": text(leave),
            "\(path).enter-after": enterAfter.settingText, "\(path).leave-after": leaveAfter.settingText,
        ]
        if let votes {
            settings["\(path).failures"] = "\(votes.failures)"
            settings["\(path).of"] = "\(votes.of)"
        }
        return settings
    }
}
