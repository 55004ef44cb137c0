import FoundationEssentials
import Logging
import Synchronization
import Vitals

/// Makes alert states and notices of transitions, one after the other, each stored before the next is looked at.
///
/// `run` is the whole of it: what is in the inbox is judged, and what that changes is stored.
final class AlertBook: Sendable {
    private let outbox: Outbox
    private let instance: String
    private let time: any TimeSource
    private let logger: Logger
    private let bell = Doorbell()
    private let state: Mutex<State>
    private let suppressed = LabelledCounter<Suppression>(known: Suppression.allCases)

    struct Rules: Sendable {
        /// Of the rules on the board, by name.
        var lowerIsWorse: [String: Bool]
        var defaults: AlertRule
        var byName: [String: AlertRule]

        func alert(_ name: String) -> AlertRule { byName[name] ?? defaults }
    }

    private enum Entry: Sendable {
        case transition(Transition)
        /// Other rules, or other alerts to hold against them.
        case rulesChanged
    }

    /// What an alert becomes, and why a notice is due, if one is.
    private struct Change {
        var record: AlertRecord
        var why: NoticeReason?
        var at: WallTime
        /// Why no notice is due though the verdict on an open alert changed.
        var suppression: Suppression?
        /// Its rule is gone, and it goes as well.
        var isRemoval = false
    }

    private struct State {
        var rules: Rules
        var recipients: [Recipient]
        var inbox: [Entry] = []
        /// By rule; open ones, and those seen since the start.
        var alerts: [String: AlertRecord] = [:]
        /// By rule, what was said of it last: a stored alert that comes to light later is judged by it.
        var latest: [String: Transition] = [:]
        /// That of the store when its rows were last looked at; nil before the first look.
        var generation: Int?
        var lastTended: MonotonicInstant
        var lastPruned: MonotonicInstant?
        var problem: String?
        var isStopping = false
    }

    /// Transitions that wait for the store; beyond it the earlier ones of a rule go, never its latest.
    static let inboxLimit = 1_000
    /// How often it is tried whether the disk takes what it is given: while it does, and while it does not.
    static let tending = (well: Duration.seconds(15), ill: Duration.seconds(1))
    /// How often what is over is forgotten.
    static let pruning = Duration.seconds(3_600)

    init(outbox: Outbox, rules: Rules, recipients: [Recipient], instance: String, time: any TimeSource, logger: Logger) {
        self.outbox = outbox
        self.instance = instance
        self.time = time
        self.logger = logger
        state = Mutex(State(rules: rules, recipients: recipients, lastTended: time.now()))
    }

    /// Takes a transition in; never blocks. Any thread.
    func observe(_ transition: Transition) {
        let dropped = state.withLock { state -> Bool in
            var dropped = false
            if state.inbox.count >= Self.inboxLimit,
                // Not the first: it may be on its way to the disk.
                let index = state.inbox.indices.dropFirst().first(where: {
                    if case .transition(let older) = state.inbox[$0] { older.rule == transition.rule } else { false }
                })
            {
                state.inbox.remove(at: index)
                dropped = true
            }
            state.inbox.append(.transition(transition))
            return dropped
        }
        if dropped { suppressed.add(for: .tooMany) }
        bell.ring()
    }

    func replace(rules: Rules) {
        state.withLock { state in
            state.rules = rules
            state.inbox.append(.rulesChanged)
        }
        bell.ring()
    }

    func replace(recipients: [Recipient]) {
        state.withLock { $0.recipients = recipients }
    }

    /// Ends `run` as soon as all that was observed has been stored.
    func stop() {
        state.withLock { $0.isStopping = true }
        bell.ring()
    }

    /// - Parameters:
    ///   - stored: called whenever a notice was stored: the receivers' queues have something to do.
    ///   - cameToLight: called when the store has other rows than those written here: what they owe is not yet on its way.
    func run(stored: @Sendable () -> Void, cameToLight: @Sendable () -> Void) async {
        while !Task.isCancelled {
            do {
                try await upkeep()
                if try await load() { cameToLight() }
                while let entry = state.withLock({ $0.inbox.first }) {
                    for change in changes(by: entry) {
                        if try await store(change) { stored() }
                    }
                    done(entry)
                }
                for change in changesOfQuiet() {
                    if try await store(change) { stored() }
                }
                report(nil)
                if state.withLock({ $0.isStopping && $0.inbox.isEmpty }) {
                    if outbox.store.isInMemory { await outbox.store.tend() }
                    return
                }
                await bell.wait(until: [nextCalm(), nextUpkeep()].compactMap { $0 }.min(), time: time)
            } catch {
                guard !Task.isCancelled else { return }
                report(error)
                await bell.wait(until: time.now() + .seconds(1), time: time)
            }
        }
    }

    /// Reads the alerts that are stored, at the start and whenever the store has other rows than it had.
    ///
    /// Those left open by an earlier process are neither told again nor forgotten: the board's next verdict decides; or its last one, where
    /// they come to light later, since the board tells of changes alone. Those that the store has lost are stored again.
    ///
    /// - Returns: whether it was not the first time.
    private func load() async throws -> Bool {
        let generation = outbox.store.generation
        guard state.withLock({ $0.generation != generation }) else { return false }
        let (open, unreadable) = try await outbox.openAlerts()
        let now = time.now()
        let (isLater, lost) = state.withLock { state -> (Bool, [AlertRecord]) in
            defer { state.generation = generation }
            let stored = Set(open.map(\.fingerprint) + unreadable)
            let lost = state.alerts.values.filter { $0.state.isOpen && !stored.contains($0.fingerprint) }
            var known: [Entry] = []
            for var record in open where state.alerts[record.rule]?.state.isOpen != true {
                record.state = record.state.restored(rule: state.rules.alert(record.rule), now: now)
                state.alerts[record.rule] = record
                if let latest = state.latest[record.rule] { known.append(.transition(latest)) }
            }
            state.inbox.insert(contentsOf: [.rulesChanged] + known, at: 0)
            return (state.generation != nil, lost)
        }
        for record in lost { try await outbox.commit(record, notice: nil, to: []) }
        for fingerprint in unreadable {
            logger.error(
                "a stored alert cannot be read by this version and is left out; its end will not be told",
                metadata: ["fingerprint": "\(fingerprint)"])
        }
        return isLater
    }

    /// Looks after the store, each part when its time has come.
    private func upkeep() async throws {
        let now = time.now()
        if now >= nextTending() {
            await outbox.store.tend()
            state.withLock { $0.lastTended = now }
        }
        if state.withLock({ state in state.lastPruned.map { now - $0 >= Self.pruning } ?? true }) {
            try await outbox.prune(at: time.wallNow())
            state.withLock { $0.lastPruned = now }
        }
    }

    private func nextTending() -> MonotonicInstant {
        state.withLock { $0.lastTended } + (outbox.store.isInMemory ? Self.tending.ill : Self.tending.well)
    }

    private func nextUpkeep() -> MonotonicInstant {
        min(nextTending(), state.withLock { $0.lastPruned.map { $0 + Self.pruning } } ?? time.now())
    }

    private func report(_ error: (any Error)?) {
        let text = error.map { "\($0)".oneLine(limit: 300) }
        let changed = state.withLock { state -> Bool in
            defer { state.problem = text }
            return (state.problem == nil) != (text == nil)
        }
        guard changed else { return }
        if let text {
            logger.critical("alerts cannot be stored, and wait", metadata: ["error": "\(text)"])
        } else {
            logger.notice("alerts can be stored again")
        }
    }

    private func changes(by entry: Entry) -> [Change] {
        switch entry {
        case .transition(let transition): [change(by: transition)]
        case .rulesChanged: changesOfRemoval()
        }
    }

    private func change(by transition: Transition) -> Change {
        let (known, rules) = state.withLock { ($0.alerts[transition.rule], $0.rules) }
        var record =
            known
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

    /// Of alerts whose rules are no longer on the board.
    private func changesOfRemoval() -> [Change] {
        let wall = time.wallNow()
        return state.withLock { state in
            state.alerts.values.filter { state.rules.lowerIsWorse[$0.rule] == nil }.map { record -> Change in
                let (next, why) = record.state.removed()
                var closed = record
                closed.state = next
                return Change(record: closed, why: why, at: wall, isRemoval: true)
            }
        }
    }

    /// Of alerts that were held, and have been quiet for long enough.
    private func changesOfQuiet() -> [Change] {
        let (now, wall) = (time.now(), time.wallNow())
        return state.withLock { state in
            state.alerts.values.filter { $0.state.phase == .held }.compactMap { record -> Change? in
                let (next, why) = record.state.calmed(rule: state.rules.alert(record.rule), now: now)
                guard why != nil else { return nil }
                var calmed = record
                calmed.state = next
                return Change(record: calmed, why: why, at: wall)
            }
        }
    }

    /// Removes the first entry of the inbox, which is looked at again for as long as it could not be stored.
    private func done(_ entry: Entry) {
        state.withLock { state in
            state.inbox.removeFirst()
            if case .transition(let transition) = entry { state.latest[transition.rule] = transition }
        }
    }

    private func nextCalm() -> MonotonicInstant? {
        state.withLock { state in state.alerts.values.compactMap { $0.state.calmAt(rule: state.rules.alert($0.rule)) }.min() }
    }

    /// The state in memory moves on only after the disk has it.
    ///
    /// - Returns: whether a notice was stored.
    private func store(_ change: Change) async throws -> Bool {
        let record = change.record
        let recipients = state.withLock { $0.recipients }
        let notice = change.why.map { record.notice(id: "healthd_\(UUID().uuidString.lowercased())", why: $0, at: change.at) }
        let released = try await outbox.commit(record, notice: notice, to: recipients)
        state.withLock { state in
            state.alerts[record.rule] = change.isRemoval ? nil : record
            if change.isRemoval { state.latest[record.rule] = nil }
        }
        let tooMany = released.count { $0.why == .tooMany }
        if tooMany > 0 { suppressed.add(tooMany, for: .tooMany) }
        if let suppression = change.suppression { suppressed.add(for: suppression) }
        guard let notice else { return false }
        logger.log(
            level: notice.status == .firing ? .warning : .notice, "alert changed",
            metadata: [
                "alert": "\(record.rule)", "component": "\(record.component)", "notice": "\(notice.why.rawValue)",
                "severity": "\(record.state.severity.rawValue)", "reason": "\(notice.reason)", "id": "\(notice.id)",
            ])
        logger.tell(released)
        return true
    }

    func snapshot() -> (open: [OpenAlert], suppressed: [Suppression: Int], problem: String?) {
        let now = time.now()
        let wall = time.wallNow()
        return state.withLock { state in
            let open = state.alerts.values.filter { $0.state.isOpen }.map { record in
                OpenAlert(
                    rule: record.rule, component: record.component, fingerprint: record.fingerprint,
                    severity: record.state.severity, phase: record.state.phase, since: record.state.startsAt ?? wall,
                    reason: record.state.reason, value: record.state.value, threshold: record.state.threshold,
                    peak: record.state.peak, unit: record.unit, evidence: record.evidence,
                    heldUntil: record.state.calmAt(rule: state.rules.alert(record.rule)).map { wall + ($0 - now) },
                    episode: record.episode)
            }
            return (open.sorted { ($0.since, $0.rule) < ($1.since, $1.rule) }, suppressed.values, outbox.store.trouble ?? state.problem)
        }
    }
}
