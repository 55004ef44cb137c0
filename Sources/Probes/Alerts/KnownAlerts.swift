import Vitals

/// The alerts that this process knows, and what a transition, a rule that went, or a quiet time makes of them. A pure value: it says what is to change,
/// and changes when that has been stored.
struct KnownAlerts: Sendable {
    struct Rules: Sendable {
        /// Of the rules on the board, by name.
        var lowerIsWorse: [String: Bool]
        var defaults: AlertRule
        var byName: [String: AlertRule]

        func alert(_ name: String) -> AlertRule { byName[name] ?? defaults }
    }

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

    var rules: Rules
    private let instance: String
    /// By rule: those that are open, and those seen since the start.
    private var records: [String: AlertRecord] = [:]
    /// By rule, what the board said of it last.
    private var latest: [String: Transition] = [:]

    init(rules: Rules, instance: String) {
        self.rules = rules
        self.instance = instance
    }

    func change(by transition: Transition) -> Change {
        var record =
            records[transition.rule]
            ?? AlertRecord(
                rule: transition.rule, component: transition.component, instance: instance, unit: transition.unit, state: AlertState())
        let (next, why) = record.state.advanced(
            by: transition.to, reason: transition.reason, value: transition.value, threshold: transition.threshold,
            lowerIsWorse: rules.lowerIsWorse[transition.rule] ?? false, rule: rules.alert(transition.rule), now: transition.at,
            wall: transition.wall)
        record.state = next
        if transition.to.isBad, let evidence = transition.evidence { record.evidence = evidence }
        let isSuppressed = why == nil && next.isOpen && transition.to != .unknown
        return Change(
            record: record, why: why, at: transition.wall, suppression: isSuppressed ? (next.phase == .held ? .flapping : .dedup) : nil)
    }

    /// Alerts whose rules are no longer on the board are closed.
    func changesByRemoval(wall: WallTime) -> [Change] {
        records.values.filter { rules.lowerIsWorse[$0.rule] == nil }.map { record in
            let (next, why) = record.state.removed()
            var closed = record
            closed.state = next
            return Change(record: closed, why: why, at: wall, isRemoval: true)
        }
    }

    /// Alerts that were held and have been quiet for long enough are held no longer.
    func changesByQuiet(now: MonotonicInstant, wall: WallTime) -> [Change] {
        records.values.filter { $0.state.phase == .held }.compactMap { record in
            let (next, why) = record.state.calmed(rule: rules.alert(record.rule), now: now)
            guard why != nil else { return nil }
            var calmed = record
            calmed.state = next
            return Change(record: calmed, why: why, at: wall)
        }
    }

    /// When there may be a change by quiet; nil while nothing is held.
    var nextCalm: MonotonicInstant? {
        records.values.compactMap { $0.state.calmAt(rule: rules.alert($0.rule)) }.min()
    }

    /// The change has been stored.
    mutating func apply(_ change: Change) {
        let rule = change.record.rule
        records[rule] = change.isRemoval ? nil : change.record
        if change.isRemoval { latest[rule] = nil }
    }

    /// All that the transition changed has been stored.
    mutating func note(_ transition: Transition) { latest[transition.rule] = transition }

    /// Takes over stored alerts that an earlier process left open. They are neither told again nor forgotten: the board's next verdict decides.
    ///
    /// - Returns: the board's last word on them, where it had one: it tells of changes alone, so that they are to be judged by that.
    mutating func adopt(_ stored: [AlertRecord], now: MonotonicInstant) -> [Transition] {
        var known: [Transition] = []
        for var record in stored where records[record.rule]?.state.isOpen != true {
            record.state = record.state.restored(rule: rules.alert(record.rule), now: now)
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
                phase: record.state.phase, since: record.state.startsAt ?? wall, reason: record.state.reason, value: record.state.value,
                threshold: record.state.threshold, peak: record.state.peak, unit: record.unit, evidence: record.evidence,
                heldUntil: record.state.calmAt(rule: rules.alert(record.rule)).map { wall + ($0 - now) }, episode: record.episode)
        }
        return open.sorted { ($0.since, $0.rule) < ($1.since, $1.rule) }
    }
}
