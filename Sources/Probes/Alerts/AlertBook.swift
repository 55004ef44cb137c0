import FoundationEssentials
import Logging
import Synchronization
import Vitals

/// Turns transitions into alert states and notices, one after the other, each stored before the next is looked at.
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
        case rulesChanged
    }

    private struct State {
        var rules: Rules
        var recipients: [Recipient]
        var inbox: [Entry] = []
        /// By rule; open ones, and those seen since the start.
        var alerts: [String: AlertRecord] = [:]
        /// By rule, what was said of it last: a stored alert that comes to light later is judged by it.
        var latest: [String: Transition] = [:]
        /// Of the store, when its rows were last looked at.
        var generation: Int?
        var lastTended: MonotonicInstant
        var lastPruned: MonotonicInstant?
        var problem: String?
        var isStopping = false
    }

    /// Transitions kept while the disk refuses; beyond it the middle ones of a rule go, never its latest.
    static let inboxLimit = 1_000
    /// How often it is tried whether the disk takes what it is given, and while it does not.
    static let tending = (well: Duration.seconds(15), ill: Duration.seconds(1))
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
    ///   - stored: called after each commit that left something to deliver.
    ///   - cameToLight: called when the store had rows that nobody could read at the start: what they owe is not yet on its way.
    func run(stored: @Sendable () -> Void, cameToLight: @Sendable () -> Void) async {
        while !Task.isCancelled {
            do {
                try await upkeep()
                if try await load() { cameToLight() }
                try await drain(stored: stored)
                try await calm(stored: stored)
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

    /// Alerts left open by an earlier process: they are neither told again nor forgotten, the board's next verdict decides; or its last one,
    /// where they come to light later, since it tells of changes alone.
    ///
    /// - Returns: whether rows came to light later.
    private func load() async throws -> Bool {
        let generation = outbox.store.generation
        guard state.withLock({ $0.generation != generation }) else { return false }
        let (open, unreadable) = try await outbox.openAlerts()
        let now = time.now()
        let isLater = state.withLock { state in
            defer { state.generation = generation }
            var known: [Entry] = []
            for var record in open where state.alerts[record.rule]?.state.isOpen != true {
                record.state = record.state.restored(rule: state.rules.alert(record.rule), now: now)
                state.alerts[record.rule] = record
                if let latest = state.latest[record.rule] { known.append(.transition(latest)) }
            }
            state.inbox.insert(contentsOf: [.rulesChanged] + known, at: 0)
            return state.generation != nil
        }
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

    private func drain(stored: @Sendable () -> Void) async throws {
        while let entry = state.withLock({ $0.inbox.first }) {
            switch entry {
            case .transition(let transition): try await apply(transition, stored: stored)
            case .rulesChanged: try await closeRemoved(stored: stored)
            }
            // Removed only now: what could not be stored is looked at again.
            state.withLock { state in
                if !state.inbox.isEmpty { state.inbox.removeFirst() }
            }
        }
    }

    private func apply(_ transition: Transition, stored: @Sendable () -> Void) async throws {
        let (record, rules) = state.withLock { state in
            (
                state.alerts[transition.rule]
                    ?? AlertRecord(
                        rule: transition.rule, component: transition.component, instance: instance, unit: transition.unit,
                        state: AlertState()),
                state.rules
            )
        }
        let (next, why) = record.state.advanced(
            by: transition.to, reason: transition.reason, value: transition.value, threshold: transition.threshold,
            lowerIsWorse: rules.lowerIsWorse[transition.rule] ?? false, rule: rules.alert(transition.rule), now: transition.at,
            wall: transition.wall)
        var advanced = record
        advanced.state = next
        if transition.to.isBad, let evidence = transition.evidence { advanced.evidence = evidence }
        try await commit(advanced, why, at: transition.wall, stored: stored)
        state.withLock { $0.latest[transition.rule] = transition }
        if why == nil, next.isOpen, transition.to != .unknown {
            suppressed.add(for: next.phase == .held ? .flapping : .dedup)
        }
    }

    private func closeRemoved(stored: @Sendable () -> Void) async throws {
        let gone = state.withLock { state in state.alerts.values.filter { state.rules.lowerIsWorse[$0.rule] == nil } }
        for record in gone {
            let (next, why) = record.state.removed()
            var closed = record
            closed.state = next
            try await commit(closed, why, at: time.wallNow(), stored: stored)
            state.withLock { state in
                state.alerts[record.rule] = nil
                state.latest[record.rule] = nil
            }
        }
    }

    private func calm(stored: @Sendable () -> Void) async throws {
        let now = time.now()
        let (held, rules) = state.withLock { state in (state.alerts.values.filter { $0.state.phase == .held }, state.rules) }
        for record in held {
            let (next, why) = record.state.calmed(rule: rules.alert(record.rule), now: now)
            guard why != nil else { continue }
            var calmed = record
            calmed.state = next
            try await commit(calmed, why, at: time.wallNow(), stored: stored)
        }
    }

    private func nextCalm() -> MonotonicInstant? {
        state.withLock { state in state.alerts.values.compactMap { $0.state.calmAt(rule: state.rules.alert($0.rule)) }.min() }
    }

    /// The state in memory moves on only after the disk has it.
    private func commit(_ record: AlertRecord, _ why: NoticeReason?, at wall: WallTime, stored: @Sendable () -> Void) async throws {
        let recipients = state.withLock { $0.recipients }
        let notice = why.map { record.notice(id: "healthd_\(UUID().uuidString.lowercased())", why: $0, at: wall) }
        let dropped = try await outbox.commit(record, notice: notice, to: recipients)
        if dropped > 0 { suppressed.add(dropped, for: .tooMany) }
        state.withLock { $0.alerts[record.rule] = record }
        guard let notice else { return }
        logger.log(
            level: notice.status == .firing ? .warning : .notice, "alert changed",
            metadata: [
                "alert": "\(record.rule)", "component": "\(record.component)", "notice": "\(notice.why.rawValue)",
                "severity": "\(record.state.severity.rawValue)", "reason": "\(notice.reason)", "id": "\(notice.id)",
            ])
        stored()
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
