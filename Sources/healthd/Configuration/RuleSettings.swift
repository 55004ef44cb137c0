import Vitals

/// The thresholds of one rule: when a component's value enters a bad state, when it leaves it again, and how long each must last.
struct RuleSettings: Sendable, Hashable {
    enum Name: String, Sendable, Hashable, CaseIterable {
        /// Share of the pool's capacity in use; 1 and above once callers have waited.
        case poolSaturation = "pool-saturation"
        /// Round trip of the PostgreSQL probe; the votes decide when it does not answer.
        case postgres
        /// Round trip of the Redis probe; the votes decide when it does not answer.
        case redis
        /// 95th percentile of the application's own queries.
        case queryLatency = "query-latency"
        /// Share of reads answered by the cache. Falls when it gets worse.
        case cacheHitRate = "cache-hit-rate"
        /// Age of the oldest task that waits for a worker.
        case taskQueue = "task-queue"
    }

    enum Unit: Sendable, Hashable { case ratio, seconds }
    enum Direction: Sendable, Hashable { case worseAbove, worseBelow }

    /// How many of the last probes must have failed for the component to be critical.
    struct Votes: Sendable, Hashable {
        var failures: Int
        var of: Int
    }

    var name: Name
    var unit: Unit
    var direction: Direction
    /// In the rule's unit (seconds for times); nil when switched `off`.
    var degraded: Double?
    var critical: Double?
    /// Where the value must be back before the state is left: the other edge, so that a value on the threshold does not flap.
    var leave: Double
    var enterAfter: Duration
    var leaveAfter: Duration
    /// Only for rules over a probe that can fail.
    var votes: Votes?
}

extension RuleSettings {
    static func standard(_ name: Name) -> RuleSettings {
        func rule(
            _ unit: Unit, _ degraded: Double?, _ critical: Double?, leave: Double, enterAfter: Duration, leaveAfter: Duration,
            direction: Direction = .worseAbove, votes: Votes? = nil
        ) -> RuleSettings {
            RuleSettings(
                name: name, unit: unit, direction: direction, degraded: degraded, critical: critical, leave: leave,
                enterAfter: enterAfter, leaveAfter: leaveAfter, votes: votes)
        }
        return switch name {
        case .poolSaturation: rule(.ratio, 0.80, 0.95, leave: 0.70, enterAfter: .zero, leaveAfter: .seconds(10))
        case .postgres, .redis:
            rule(.seconds, 0.1, 0.4, leave: 0.05, enterAfter: .zero, leaveAfter: .seconds(1), votes: Votes(failures: 2, of: 3))
        case .queryLatency: rule(.seconds, 0.25, 1, leave: 0.15, enterAfter: .seconds(5), leaveAfter: .seconds(10))
        // Misses alone are never an emergency: the answers are right, only dearer.
        case .cacheHitRate:
            rule(.ratio, 0.5, nil, leave: 0.6, enterAfter: .seconds(30), leaveAfter: .seconds(30), direction: .worseBelow)
        case .taskQueue: rule(.seconds, 30, 300, leave: 10, enterAfter: .zero, leaveAfter: .seconds(10))
        }
    }

    /// Reads `rules.NAME.*` over the standard, and reports edges that contradict each other.
    static func read(_ name: Name, from reader: inout SettingReader) -> RuleSettings {
        var rule = standard(name)
        let path = "rules.\(name.rawValue)"
        let before = reader.problems.count
        rule.degraded = rule.threshold("\(path).degraded", rule.degraded, mayBeOff: true, &reader)
        rule.critical = rule.threshold("\(path).critical", rule.critical, mayBeOff: true, &reader)
        rule.leave = rule.threshold("\(path).leave", rule.leave, mayBeOff: false, &reader) ?? rule.leave
        rule.enterAfter = reader.duration("\(path).enter-after", in: .zero ... .seconds(86_400), default: rule.enterAfter)
        rule.leaveAfter = reader.duration("\(path).leave-after", in: .zero ... .seconds(86_400), default: rule.leaveAfter)
        if let votes = rule.votes {
            let of = reader.integer("\(path).of", in: 1...20, default: votes.of)
            let failures = reader.integer("\(path).failures", in: 1...20, default: votes.failures)
            if failures > of {
                reader.report(
                    "\(path).failures", reader.origin(of: "\(path).failures"),
                    "is \(failures); expected at most \(path).of, which is \(of)")
            }
            rule.votes = Votes(failures: failures, of: of)
        }
        // Edges are compared only when each is readable: one slip, one line.
        if reader.problems.count == before { rule.checkOrder(path, &reader) }
        return rule
    }

    private func threshold(_ path: String, _ standard: Double?, mayBeOff: Bool, _ reader: inout SettingReader) -> Double? {
        enum Edge { case off, at(Double) }
        let off = mayBeOff ? ", or off" : ""
        let expected =
            switch unit {
            case .ratio: "a share from 0 to 1, such as 0.8\(off)"
            case .seconds: "a time from 0s to 24h, such as 250ms\(off)"
            }
        let edge = reader.value(path, expected: expected) { text -> Edge? in
            if mayBeOff, text == "off" { return .off }
            let number =
                switch unit {
                case .ratio: Double(text)
                case .seconds: Duration(setting: text)?.seconds
                }
            guard let number, number.isFinite, number >= 0, number <= (unit == .ratio ? 1 : 86_400) else { return nil }
            return .at(number)
        }
        switch edge {
        case nil: return standard
        case .off?: return nil
        case .at(let number)?: return number
        }
    }

    /// Leave, degraded and critical must rise (or fall) in this order; leave may equal degraded.
    private func checkOrder(_ path: String, _ reader: inout SettingReader) {
        let sign: Double = direction == .worseAbove ? 1 : -1
        let side = direction == .worseAbove ? "above" : "below"
        func complain(_ key: String, _ text: String) {
            // The key the writer set is the one to point at; a default cannot be wrong by itself.
            let written = ["leave", "degraded", "critical"].map { "\(path).\($0)" }.first { reader.origin(of: $0) != .unset }
            reader.report("\(path).\(key)", reader.origin(of: written ?? "\(path).\(key)"), text)
        }
        if let degraded, let critical, (critical - degraded) * sign <= 0 {
            complain("critical", "is \(text(critical)); expected it \(side) degraded, which is \(text(degraded))")
        }
        if let first = degraded ?? critical, (first - leave) * sign < 0 {
            complain(
                "leave",
                "is \(text(leave)); expected it not \(side) \(degraded == nil ? "critical" : "degraded"), which is \(text(first))")
        }
    }

    private func text(_ value: Double) -> String {
        unit == .ratio ? "\(value)" : Duration.nanoseconds(Int64((value * 1e9).rounded())).settingText
    }
}
