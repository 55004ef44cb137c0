import Probes

/// What a reload would change, told apart by whether it can be done while running.
struct ConfigurationDifference: Sendable, Hashable {
    /// Settings that take effect at once: thresholds, receivers, the link in alerts. Keys as in the file, sorted.
    var live: [String]
    /// Settings that stay as they were until a restart. Keys as in the file, sorted.
    var needsRestart: [String]

    var isEmpty: Bool { live.isEmpty && needsRestart.isEmpty }

    /// One sentence for the log, the reload's answer and STATUS.
    var text: String {
        if isEmpty { return "nothing changed" }
        var parts: [String] = []
        if !live.isEmpty { parts.append("took effect: \(live.joined(separator: ", "))") }
        if !needsRestart.isEmpty { parts.append("needs a restart: \(needsRestart.joined(separator: ", "))") }
        return parts.joined(separator: "; ")
    }
}

extension Configuration {
    func difference(to next: Configuration) -> ConfigurationDifference {
        let (old, new) = (settings, next.settings)
        var changed = Set(old.keys).union(new.keys).filter { old[$0] != new[$0] }
        // What prints alike may differ in a secret.
        if receivers != next.receivers, !changed.contains(where: { $0.hasPrefix("receivers") }) { changed.insert("receivers") }
        if database != next.database { changed.insert("database.url") }
        if cache.choice != next.cache.choice { changed.insert("cache.url") }
        let isLive: (String) -> Bool = { $0.hasPrefix("rules.") || $0.hasPrefix("receivers") || $0 == "external-url" }
        return ConfigurationDifference(live: changed.filter(isLive).sorted(), needsRestart: changed.filter { !isLive($0) }.sorted())
    }

    /// The configuration that is in force after a reload: of `next` what takes effect at once, everything else as it was.
    func reloaded(with next: Configuration) -> Configuration {
        var result = self
        result.rules = next.rules
        result.receivers = next.receivers
        result.externalURL = next.externalURL
        return result
    }
}
