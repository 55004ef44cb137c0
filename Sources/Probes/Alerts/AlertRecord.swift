import Vitals

/// An alert with its identity, as it is kept and stored.
///
/// The identity is that of its opening: a resolved uses the key of its firing, whatever was reconfigured in between.
public struct AlertRecord: Sendable, Hashable, Codable {
    public var rule: String
    public var component: ComponentID
    public var instance: String
    public var unit: Unit
    public var state: AlertState
    /// Of the latest transition to a bad state that had any.
    public var evidence: Evidence?

    public var fingerprint: String { Self.fingerprint(of: identity) }

    public var labels: [String: String] {
        var labels = identity
        labels["severity"] = state.severity.rawValue
        return labels
    }

    /// Without the severity: an escalation is the same alert.
    private var identity: [String: String] {
        ["alertname": rule, "component": component.rawValue, "instance": instance]
    }

    /// The fingerprint alone before it first opens.
    var episode: String { state.startsAt.map { Notice.episode(of: fingerprint, since: $0) } ?? fingerprint }

    /// Of the sorted labels, names and values each ended by a byte that UTF-8 never has, as Prometheus does it;
    /// stable over restarts, versions and the order of a configuration.
    static func fingerprint(of labels: [String: String]) -> String {
        var hash = FNV1a()
        for (name, value) in labels.sorted(by: { $0.key < $1.key }) {
            hash.mix(name.utf8)
            hash.mix(0xFF)
            hash.mix(value.utf8)
            hash.mix(0xFF)
        }
        return hash.text
    }

    func notice(id: String, why: NoticeReason, at wall: WallTime) -> Notice {
        let resolved =
            switch why {
            case .resolved, .recoveredWhileDown, .ruleRemoved: true
            case .firing, .escalated, .flapping, .settled, .test: false
            }
        let startsAt = state.startsAt ?? wall
        // The wall clock may have been set back since: an alert does not end before it began.
        let endsAt = resolved ? max(startsAt, state.goodSince ?? wall) : nil
        var notice = Notice(
            id: id, status: resolved ? .resolved : .firing, why: why, labels: labels, fingerprint: fingerprint, startsAt: startsAt,
            endsAt: endsAt, lastedSeconds: resolved ? state.lasted?.seconds : nil, summary: "", reason: state.reason, value: state.value,
            threshold: state.threshold, unit: unit, peak: state.peak, evidence: resolved ? nil : evidence, at: wall)
        notice.summary = summary(why, lasted: notice.duration?.text ?? "")
        return notice
    }

    private func summary(_ why: NoticeReason, lasted: String) -> String {
        let severity = state.severity.rawValue
        switch why {
        case .firing: return "\(component) is \(severity): \(state.reason)"
        case .escalated: return "\(component) got worse, now \(severity): \(state.reason)"
        case .resolved: return "\(component) is healthy again after \(lasted): \(state.reason)"
        case .recoveredWhileDown: return "\(component) is healthy; it recovered while healthd was not running: \(state.reason)"
        case .ruleRemoved: return "\(component): the rule \(rule) is no longer configured; the alert is closed after \(lasted)"
        case .flapping: return "\(component) is flapping: further changes are held until it is quiet; now \(state.reason)"
        case .settled: return "\(component) stopped flapping and is \(severity): \(state.reason)"
        case .test: return "Test of healthd's alert delivery"
        }
    }
}
