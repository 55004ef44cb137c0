import Vitals

/// The alerts that this process knows, and what a transition, a rule that went, or a quiet time makes of them. A pure value: it says what is to
/// change, and changes when that has been stored.
struct KnownAlerts: Sendable {
    /// What an alert is to become, and why a notice is due, if one is.
    struct Change: Sendable {
        var record: AlertRecord
        var why: NoticeReason?
        var at: WallTime
        /// Why no notice is due though the verdict on an open alert changed.
        var suppression: Suppression?
        /// Its rule is gone, and it goes as well.
        var isRemoval = false
    }

    private let instance: String
    private let flapping = Flapping.Policy()
    /// Of each rule on the board, by name: whether a lower value is worse.
    private var lowerIsWorse: [String: Bool] = [:]
    /// By rule: the open alerts, and those seen since the start.
    private var records: [String: AlertRecord] = [:]
    /// By rule, what the board said of it last.
    private var latest: [String: Transition] = [:]

    init(rules: [Rule], instance: String) {
        self.instance = instance
        replace(rules: rules)
    }

    /// Alerts of rules that are not among these are closed by `changesByRemoval`.
    mutating func replace(rules: [Rule]) {
        let directions = rules.map { rule -> (String, Bool) in
            if case .value(let value) = rule.condition { (rule.name, value.direction == .lowerIsWorse) } else { (rule.name, false) }
        }
        lowerIsWorse = Dictionary(directions) { first, _ in first }
    }

    func change(by transition: Transition) -> Change {
        var record = record(for: transition)
        let (next, why) = record.state.advanced(
            by: transition.to, reason: transition.reason, value: transition.value, threshold: transition.threshold,
            lowerIsWorse: lowerIsWorse[transition.rule] ?? false, flapping: flapping, now: transition.at, wall: transition.wall)
        record.state = next
        if transition.to.isBad, let evidence = transition.evidence { record.evidence = evidence }
        let isSuppressed = why == nil && next.isOpen && transition.to != .unknown
        return Change(
            record: record, why: why, at: transition.wall, suppression: isSuppressed ? (next.phase == .held ? .flapping : .dedup) : nil)
    }

    /// An open alert keeps the identity of its opening. The next opening gets this process's own; changes before it still count as flapping.
    private func record(for transition: Transition) -> AlertRecord {
        let known = records[transition.rule]
        if let known, known.state.isOpen { return known }
        return AlertRecord(
            rule: transition.rule, component: transition.component, instance: instance, unit: transition.unit, state: known?.state ?? AlertState())
    }

    /// Alerts whose rules are no longer on the board are closed.
    func changesByRemoval(now: MonotonicInstant, wall: WallTime) -> [Change] {
        records.values.filter { lowerIsWorse[$0.rule] == nil }.map { change($0, to: $0.state.removed(now: now), at: wall, isRemoval: true) }
    }

    /// Alerts that were held and have been quiet for long enough are held no longer.
    func changesByQuiet(now: MonotonicInstant, wall: WallTime) -> [Change] {
        records.values.map { change($0, to: $0.state.calmed(flapping: flapping, now: now), at: wall) }.filter { $0.why != nil }
    }

    private func change(_ record: AlertRecord, to next: (state: AlertState, why: NoticeReason?), at wall: WallTime, isRemoval: Bool = false) -> Change {
        var changed = record
        changed.state = next.state
        return Change(record: changed, why: next.why, at: wall, isRemoval: isRemoval)
    }

    /// When there may be a change by quiet; nil while nothing is held.
    var nextCalm: MonotonicInstant? {
        records.values.compactMap { $0.state.calmAt(flapping: flapping) }.min()
    }

    /// The change has been stored.
    mutating func apply(_ change: Change) {
        let rule = change.record.rule
        records[rule] = change.isRemoval ? nil : change.record
        if change.isRemoval { latest[rule] = nil }
    }

    /// All that the transition changed has been stored.
    mutating func note(_ transition: Transition) { latest[transition.rule] = transition }

    /// Takes over stored alerts that an earlier process left open. There is no notice of that.
    ///
    /// - Returns: for each of them, the last transition seen, if any. The board reports only changes, so it will not repeat it.
    mutating func adopt(_ stored: [AlertRecord], now: MonotonicInstant, wall: WallTime) -> [Transition] {
        var known: [Transition] = []
        for var record in stored where records[record.rule]?.state.isOpen != true {
            record.state = record.state.restored(flapping: flapping, now: now, wall: wall)
            records[record.rule] = record
            if let latest = latest[record.rule] { known.append(latest) }
        }
        return known
    }

    /// The open ones that are not among these fingerprints.
    func open(without stored: [String]) -> [AlertRecord] {
        records.values.filter { $0.state.isOpen && !stored.contains($0.fingerprint) }
    }

    /// Oldest first, for people.
    func open(now: MonotonicInstant, wall: WallTime) -> [OpenAlert] {
        let open = records.values.filter { $0.state.isOpen }.map { record in
            OpenAlert(
                rule: record.rule, component: record.component, fingerprint: record.fingerprint, severity: record.state.severity,
                phase: record.state.phase, since: record.state.startsAt ?? wall, age: record.state.age(at: now), reason: record.state.reason, value: record.state.value,
                threshold: record.state.threshold, peak: record.state.peak, unit: record.unit, evidence: record.evidence,
                heldUntil: record.state.calmAt(flapping: flapping).map { wall + ($0 - now) }, episode: record.episode)
        }
        return open.sorted { ($1.age, $0.rule) < ($0.age, $1.rule) }
    }
}
