import Probes
import Vitals

extension Rule {
    /// The rules of this program, in the order in which they are shown. A rule's name is its key below `rules`, its alert and its label.
    static var standard: [Rule] {
        [
            .poolSaturation(), .poolUnavailable(), .answers("postgres"), .answers("redis"), .queryLatency(), .cacheHitRate(component: "cache"),
            .taskQueue(), .fileDescriptors(), .alertStore(),
        ]
    }

    /// Notices cannot be written to disk: they go on in memory, and would be lost with the process. One look is enough, nobody else is asked.
    static func alertStore() -> Rule {
        Rule(
            name: "alert-store", component: "alerts", probe: "alerts",
            condition: .failures(Failures(critical: Votes(1, of: 1), degraded: nil)), title: "alert store", leaveAfter: .seconds(10))
    }

    /// Tasks wait too long for a worker: the value is the age of the oldest one.
    static func taskQueue() -> Rule {
        Rule(
            name: "task-queue", component: "tasks", probe: "tasks",
            condition: .value(Value("oldest-queued", unit: .seconds, degraded: 30, critical: 300, leave: 10, absence: .clear)),
            title: "oldest queued task", leaveAfter: .seconds(10))
    }

    /// The process runs out of file descriptors: then no socket and no file can be opened.
    static func fileDescriptors() -> Rule {
        Rule(
            name: "file-descriptors", component: "process", probe: "process",
            condition: .value(Value("descriptors", unit: .ratio, degraded: 0.80, critical: 0.95, leave: 0.70)),
            title: "file descriptors", leaveAfter: .seconds(10))
    }

    /// Reads `rules.NAME.*` over the rule, and reports edges that contradict each other.
    func read(from reader: inout SettingReader) -> Rule {
        var rule = self
        let path = "rules.\(name)"
        switch condition {
        case .value(let standard):
            rule.condition = .value(standard.read(path, from: &reader))
        case .failures(var failures):
            let of = reader.integer("\(path).of", in: 1...20, default: failures.critical.of)
            let needed = reader.integer("\(path).failures", in: 1...20, default: min(failures.critical.needed, of))
            if needed > of {
                reader.report(
                    "\(path).failures", reader.origin(of: "\(path).failures"),
                    "is \(needed); expected at most \(path).of, which is \(of)")
            } else {
                failures.critical = Votes(needed, of: of)
            }
            rule.condition = .failures(failures)
        }
        rule.enterAfter = reader.duration("\(path).enter-after", in: .zero ... .seconds(86_400), default: enterAfter)
        rule.leaveAfter = reader.duration("\(path).leave-after", in: .zero ... .seconds(86_400), default: leaveAfter)
        return rule
    }

    /// Key by key, as the file would have it.
    var settings: [String: String] {
        let path = "rules.\(name)"
        var settings = ["\(path).enter-after": enterAfter.settingText, "\(path).leave-after": leaveAfter.settingText]
        switch condition {
        case .value(let value):
            settings["\(path).degraded"] = value.degraded.map(value.text) ?? "off"
            settings["\(path).critical"] = value.critical.map(value.text) ?? "off"
            settings["\(path).leave"] = value.lowestLeave.map(value.text) ?? "off"
        case .failures(let failures):
            settings["\(path).failures"] = "\(failures.critical.needed)"
            settings["\(path).of"] = "\(failures.critical.of)"
        }
        return settings
    }
}

extension Rule.Value {
    fileprivate var lowestLeave: Double? { degraded == nil ? leaveCritical : leaveDegraded }

    fileprivate func text(_ value: Double) -> String {
        unit == .seconds ? Duration.nanoseconds(Int64((value * 1e9).rounded())).settingText : "\(value)"
    }

    fileprivate func read(_ path: String, from reader: inout SettingReader) -> Rule.Value {
        let before = reader.problems.count
        let degraded = edge("\(path).degraded", degraded, mayBeOff: true, &reader)
        let critical = edge("\(path).critical", critical, mayBeOff: true, &reader)
        // An edge that only the enter threshold was moved away from moves along, in proportion.
        let entered = degraded ?? critical
        let standard = lowestLeave.map { leave in
            guard let entered, let was = self.degraded ?? self.critical, was > 0, entered != was else { return leave }
            return (leave * entered / was * 1e6).rounded() / 1e6
        }
        let leave = edge("\(path).leave", standard.map { unit == .ratio ? min($0, 1) : $0 }, mayBeOff: false, &reader)
        let value = Rule.Value(
            key, unit: unit, direction: direction, degraded: degraded, critical: critical, leave: leave, votes: votes,
            absence: absence)
        // Edges are compared only when each is readable: one slip, one line.
        if reader.problems.count == before { value.checkOrder(path, leave: leave, &reader) }
        return value
    }

    private func edge(_ path: String, _ standard: Double?, mayBeOff: Bool, _ reader: inout SettingReader) -> Double? {
        enum Edge { case off, at(Double) }
        let off = mayBeOff ? ", or off" : ""
        let expected = unit == .ratio ? "a share from 0 to 1, such as 0.8\(off)" : "a time from 0s to 24h, such as 250ms\(off)"
        let edge = reader.value(path, expected: expected) { text -> Edge? in
            if mayBeOff, text == "off" { return .off }
            let number = unit == .ratio ? Double(text) : Duration(setting: text)?.seconds
            guard let number, number.isFinite, number >= 0, number <= (unit == .ratio ? 1 : 86_400) else { return nil }
            return .at(number)
        }
        switch edge {
        case nil: return standard
        case .off?: return nil
        case .at(let number)?: return number
        }
    }

    /// Leave, degraded and critical must rise (or fall) in this order; leave may equal the first.
    private func checkOrder(_ path: String, leave: Double?, _ reader: inout SettingReader) {
        let sign: Double = direction == .higherIsWorse ? 1 : -1
        let side = direction == .higherIsWorse ? "above" : "below"
        func complain(_ key: String, _ text: String) {
            // The key that was written is the one to point at; a default cannot be wrong by itself.
            let written = (["\(path).\(key)"] + ["leave", "degraded", "critical"].map { "\(path).\($0)" })
                .first { reader.origin(of: $0) != .unset }
            reader.report("\(path).\(key)", reader.origin(of: written ?? "\(path).\(key)"), text)
        }
        if let degraded, let critical, (critical - degraded) * sign <= 0 {
            complain("critical", "is \(text(critical)); expected it \(side) degraded, which is \(text(degraded))")
        }
        if let leave, let first = degraded ?? critical, (first - leave) * sign < 0 {
            complain(
                "leave",
                "is \(text(leave)); expected it not \(side) \(degraded == nil ? "critical" : "degraded"), which is \(text(first))")
        }
    }
}
