import Logging
import Synchronization
import Vitals

/// Makes alert states and notices of transitions, one after the other, each stored before the next is looked at.
///
/// `run` does all of it: it judges what is in the inbox, and stores what that changes. Whatever stores a notice asks here who
/// the receivers are.
final class AlertBook: Sendable {
    private let outbox: Outbox
    private let time: any TimeSource
    private let logger: Logger
    private let bell = Doorbell()
    private let state: Mutex<State>
    private let suppressions = LabelledCounter<Suppression>(known: Suppression.allCases)

    private enum Entry: Sendable {
        case transition(Transition)
        /// The rules changed, or stored alerts were loaded: alerts whose rule is gone are closed.
        case rulesChanged
    }

    private struct State {
        var alerts: KnownAlerts
        var recipients: [Recipient]
        var inbox: [Entry] = []
        /// `rowsRevision` of the store when its alerts were last read; nil before the first time.
        var rowsRevision: Int?
        /// Fingerprints of stored alerts that this version cannot read; the log has told of each.
        var unreadable: Set<String> = []
        var lastTended: MonotonicInstant
        var lastPruned: MonotonicInstant?
        var trouble: String?
        var isStopping = false
    }

    /// Transitions that wait for the store; beyond it the earlier ones of a rule are dropped, never its latest.
    static let inboxLimit = 1_000
    /// How often `store.tend` is called: while the file is in use, and while the store is in memory alone.
    static let tending = (well: Duration.seconds(15), ill: Duration.seconds(1))
    /// How often what is over is forgotten (`prune`).
    static let pruning = Duration.seconds(3_600)

    init(
        outbox: Outbox, rules: [Rule], recipients: [Recipient], instance: String, time: any TimeSource, logger: Logger
    ) {
        self.outbox = outbox
        self.time = time
        self.logger = logger
        state = Mutex(State(alerts: KnownAlerts(rules: rules, instance: instance), recipients: recipients, lastTended: time.now()))
    }

    /// Takes a transition in; never blocks. Any thread.
    func observe(_ transition: Transition) {
        let dropped = state.withLock { state -> Bool in
            var dropped = false
            if state.inbox.count >= Self.inboxLimit,
                // Not the first: it may be on its way to the store.
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
        if dropped { suppressions.add(for: .tooMany) }
        bell.ring()
    }

    func replace(rules: [Rule]) {
        state.withLock { state in
            state.alerts.replace(rules: rules)
            state.inbox.append(.rulesChanged)
        }
        bell.ring()
    }

    /// Only keeps them: `reconcile` changes the rows.
    func replace(recipients: [Recipient]) {
        state.withLock { $0.recipients = recipients }
    }

    private var recipients: [Recipient] { state.withLock { $0.recipients } }

    /// Brings the rows in line with the receivers that there are. Any task.
    func reconcile() async throws -> Reconciled {
        let reconciled = try await outbox.reconcile(at: time.wallNow()) { self.recipients }
        note(reconciled.released)
        return reconciled
    }

    /// Ends `run` as soon as all that was observed has been stored.
    func stop() {
        state.withLock { $0.isStopping = true }
        bell.ring()
    }

    /// - Parameters:
    ///   - stored: called whenever a notice was stored: the receivers' queues have something to do.
    ///   - cameToLight: called when the store has got rows that were not written here: `reconcile` must run.
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
                for change in changesByQuiet() {
                    if try await store(change) { stored() }
                }
                report(nil)
                if state.withLock({ $0.isStopping && $0.inbox.isEmpty }) {
                    if outbox.store.isInMemory { await outbox.store.tend() }
                    return
                }
                await bell.wait(until: [state.withLock { $0.alerts.nextCalm }, nextUpkeep()].compactMap { $0 }.min(), time: time)
            } catch {
                guard !Task.isCancelled else { return }
                report(error)
                await bell.wait(until: time.now() + .seconds(1), time: time)
            }
        }
    }

    /// Takes over the open alerts that are stored: at the start, and whenever the store has got other rows. No notice is sent for them: the next
    /// transition decides, or the last one that was seen. Open alerts that the store has lost are stored again.
    ///
    /// - Returns: true when they were read anew; false at the first time, and when the rows are unchanged.
    private func load() async throws -> Bool {
        let revision = outbox.store.rowsRevision
        guard state.withLock({ $0.rowsRevision != revision }) else { return false }
        let (open, unreadable) = try await outbox.openAlerts()
        let (now, wall) = (time.now(), time.wallNow())
        let (isLater, lost) = state.withLock { state -> (Bool, [AlertRecord]) in
            let lost = state.alerts.open(without: open.map(\.fingerprint) + unreadable)
            let known = state.alerts.adopt(open, now: now, wall: wall).map { Entry.transition($0) }
            // At the head: these come before what waits. A rule may have gone while its alert was stored and not known here.
            state.inbox.insert(contentsOf: [.rulesChanged] + known, at: 0)
            return (state.rowsRevision != nil, lost)
        }
        for record in lost { try await outbox.commit(record, notice: nil) { [] } }
        let news = state.withLock { state in
            defer { state.unreadable.formUnion(unreadable) }
            return unreadable.filter { !state.unreadable.contains($0) }
        }
        for fingerprint in news {
            logger.error(
                "a stored alert cannot be read by this version and is left out; no receiver will be told of its end",
                metadata: ["fingerprint": "\(fingerprint)"])
        }
        // Set last: what fails before is done again.
        state.withLock { $0.rowsRevision = revision }
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
            defer { state.trouble = text }
            return (state.trouble == nil) != (text == nil)
        }
        guard changed else { return }
        if let text {
            logger.critical("alerts cannot be stored, and wait", metadata: ["error": "\(text)"])
        } else {
            logger.notice("alerts can be stored again")
        }
    }

    private func changes(by entry: Entry) -> [KnownAlerts.Change] {
        let (now, wall) = (time.now(), time.wallNow())
        return state.withLock { state in
            switch entry {
            case .transition(let transition): [state.alerts.change(by: transition)]
            case .rulesChanged: state.alerts.changesByRemoval(now: now, wall: wall)
            }
        }
    }

    private func changesByQuiet() -> [KnownAlerts.Change] {
        let (now, wall) = (time.now(), time.wallNow())
        return state.withLock { $0.alerts.changesByQuiet(now: now, wall: wall) }
    }

    /// Removes the first entry of the inbox; until then it is looked at again whenever it could not be stored.
    private func done(_ entry: Entry) {
        state.withLock { state in
            state.inbox.removeFirst()
            if case .transition(let transition) = entry { state.alerts.note(transition) }
        }
    }

    /// The state in memory moves on only after the store has it.
    ///
    /// - Returns: whether a notice was stored.
    private func store(_ change: KnownAlerts.Change) async throws -> Bool {
        let record = change.record
        let notice = change.why.map { record.notice(id: Notice.newID(), why: $0, at: change.at) }
        let released = try await outbox.commit(record, notice: notice) { self.recipients }
        state.withLock { $0.alerts.apply(change) }
        if let suppression = change.suppression { suppressions.add(for: suppression) }
        guard let notice else { return false }
        logger.log(
            level: notice.status == .firing ? .warning : .notice, "alert changed",
            metadata: [
                "alert": "\(record.rule)", "component": "\(record.component)", "why": "\(notice.why.rawValue)",
                "severity": "\(record.state.severity.rawValue)", "reason": "\(notice.reason)", "id": "\(notice.id)",
            ])
        note(released)
        return true
    }

    /// Counts what was released as `tooMany`, and logs each receiver that is not told of an alert's end.
    private func note(_ released: [Released]) {
        let tooMany = released.count { $0.why == .tooMany }
        if tooMany > 0 { suppressions.add(tooMany, for: .tooMany) }
        logger.logUntold(released)
    }

    func snapshot() -> (open: [OpenAlert], suppressed: [Suppression: Int], trouble: String?) {
        let (now, wall) = (time.now(), time.wallNow())
        return state.withLock { state in
            (state.alerts.open(now: now, wall: wall), suppressions.values, outbox.store.trouble ?? state.trouble)
        }
    }
}
