import FoundationEssentials
public import Logging
import Synchronization
public import Vitals

/// From transitions to accepted notices. What happens to one notice:
///
/// 1. `observe` puts a transition into the inbox of the `AlertBook`. Its `run` judges it: a notice may be due. The alert's new state, the notice,
///    and a row for each receiver that is to get it are stored in one transaction (`Outbox.commit`).
/// 2. Each receiver has a `ReceiverQueue`. Its `run` reads what waits for that receiver, and sends it (`attempt`) until it is accepted, or not owed
///    any more: how long that is, `OutboxPolicy` says.
/// 3. After a start the book reads which alerts were open, `reconcile` brings the rows in line with the receivers that there are now, and each queue
///    goes on with the rows that wait.
///
/// PostgreSQL is nowhere on this way.
public final class Dispatcher: Sendable {
    private let outbox: Outbox
    private let sender: any NoticeSender
    private let policy: RetryPolicy
    private let time: any TimeSource
    private let logger: Logger
    private let book: AlertBook
    private let bell = Doorbell()
    private let stopBell = Doorbell()
    private let state: Mutex<State>

    /// How long what is under way at the end may take: an accepted notice that was not marked is sent once more at the next start.
    static let stopGrace = Duration.seconds(5)

    private struct State {
        var externalURL: String
        var isStopping = false
        var queues: [ReceiverQueue]
        /// Not yet running.
        var fresh: [ReceiverQueue]
        var defaults: AlertRule
        var byRule: [String: AlertRule]
    }

    /// - Parameters:
    ///   - rules: those on the board; an open alert of any other rule is closed.
    ///   - alertRule: for every rule without one of its own in `alertRules`.
    ///   - instance: which healthd speaks: a host name, or host and port.
    ///   - externalURL: where a person finds this healthd's page.
    public convenience init(
        outbox: Outbox, receivers: [Receiver], rules: [Rule], alertRule: AlertRule = AlertRule(), alertRules: [String: AlertRule] = [:],
        sender: any NoticeSender, instance: String, externalURL: String, time: any TimeSource, logger: Logger
    ) {
        self.init(
            outbox: outbox, receivers: receivers, rules: rules, alertRule: alertRule, alertRules: alertRules, sender: sender,
            instance: instance, externalURL: externalURL, policy: RetryPolicy(), time: time, logger: logger)
    }

    init(
        outbox: Outbox, receivers: [Receiver], rules: [Rule], alertRule: AlertRule = AlertRule(), alertRules: [String: AlertRule] = [:],
        sender: any NoticeSender, instance: String, externalURL: String, policy: RetryPolicy, time: any TimeSource, logger: Logger
    ) {
        self.outbox = outbox
        self.sender = sender
        self.policy = policy
        self.time = time
        self.logger = logger
        let recipients = Recipient.all(receivers)
        book = AlertBook(
            outbox: outbox, rules: Self.bookRules(rules, alertRule, alertRules), recipients: recipients, instance: instance, time: time,
            logger: logger)
        let queues = zip(receivers, recipients).map { receiver, recipient in
            ReceiverQueue(
                receiver, as: recipient, outbox: outbox, sender: sender, externalURL: externalURL, policy: policy, time: time, logger: logger)
        }
        state = Mutex(State(externalURL: externalURL, queues: queues, fresh: queues, defaults: alertRule, byRule: alertRules))
    }

    /// For `HealthBoard.observe`; never blocks.
    public func observe(_ transition: Transition) {
        book.observe(transition)
    }

    /// Until stopped or cancelled; what is undelivered then stays in the outbox for the next start.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.work() }
            group.addTask {
                await self.stopBell.wait()
                try? await self.time.sleep(for: Self.stopGrace)
            }
            await group.next()
            group.cancelAll()
        }
    }

    /// Ends `run` when what was observed is stored and what is under way has its answer, or after the grace.
    public func stop() {
        let queues = state.withLock { state in
            state.isStopping = true
            return state.queues
        }
        book.stop()
        queues.forEach { $0.stop() }
        bell.ring()
        stopBell.ring()
    }

    /// The book, and a queue for each receiver; a queue that a reload brings is started here as well.
    private func work() async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                await self.book.run(stored: { self.wakeAll() }, cameToLight: { self.bell.ring() })
                self.state.withLock { $0.queues }.forEach { $0.finish() }
            }
            await reconcile()
            while !Task.isCancelled {
                let (fresh, isStopping) = state.withLock { state -> ([ReceiverQueue], Bool) in
                    defer { state.fresh = [] }
                    return (state.fresh, state.isStopping)
                }
                for queue in fresh { group.addTask { await queue.run() } }
                if isStopping { return }
                await bell.wait()
                if !Task.isCancelled { await reconcile() }
            }
        }
    }

    /// After a reload: alerts of rules that went are closed.
    public func replace(rules: [Rule], alertRule: AlertRule? = nil, alertRules: [String: AlertRule]? = nil) {
        let (defaults, byRule) = state.withLock { state -> (AlertRule, [String: AlertRule]) in
            state.defaults = alertRule ?? state.defaults
            state.byRule = alertRules ?? state.byRule
            return (state.defaults, state.byRule)
        }
        book.replace(rules: Self.bookRules(rules, defaults, byRule))
    }

    /// After a reload: a receiver of the same address keeps its queue, whatever its name; what waited for one that went goes to the receiver
    /// that has its name now, or is given up. Nothing is sent twice, and a new one is told of what is open.
    public func replace(receivers: [Receiver]) {
        let recipients = Recipient.all(receivers)
        let (kept, retired) = state.withLock { state -> ([(ReceiverQueue, Receiver, Recipient)], [ReceiverQueue]) in
            var kept: [(ReceiverQueue, Receiver, Recipient)] = []
            var next: [ReceiverQueue] = []
            for (receiver, recipient) in zip(receivers, recipients) {
                if let queue = state.queues.first(where: { $0.recipient.address == recipient.address }) {
                    kept.append((queue, receiver, recipient))
                    next.append(queue)
                } else {
                    let queue = ReceiverQueue(
                        receiver, as: recipient, outbox: outbox, sender: sender, externalURL: state.externalURL, policy: policy, time: time,
                        logger: logger)
                    next.append(queue)
                    state.fresh.append(queue)
                }
            }
            let retired = state.queues.filter { queue in !recipients.contains { $0.address == queue.recipient.address } }
            state.queues = next
            return (kept, retired)
        }
        book.replace(recipients: recipients)
        kept.forEach { $0.reconfigure($1, as: $2) }
        retired.forEach { $0.retire() }
        bell.ring()
    }

    /// After a reload: what is sent from now on links to there.
    public func replace(externalURL: String) {
        let queues = state.withLock { state in
            state.externalURL = externalURL
            return state.queues
        }
        queues.forEach { $0.replace(externalURL: externalURL) }
    }

    public func snapshot() -> AlertsSnapshot {
        let (open, suppressed, problem) = book.snapshot()
        let queues = state.withLock { $0.queues }
        let told = queues.map { (name: $0.recipient.name, episodes: $0.told) }
        return AlertsSnapshot(
            open: open.map { alert in
                var alert = alert
                alert.told = told.filter { $0.episodes.contains(alert.episode) }.map { $0.name }.sorted()
                return alert
            },
            receivers: queues.map { $0.status() }.sorted { $0.name < $1.name }, suppressed: suppressed, outboxProblem: problem)
    }

    private func wakeAll() {
        state.withLock { $0.queues }.forEach { $0.wake() }
    }

    /// At the start, after a change of the receivers, and when the store has other rows.
    private func reconcile() async {
        let receivers = state.withLock { $0.queues.map(\.recipient) }
        do {
            let reconciled = try await outbox.reconcile(with: receivers, at: time.wallNow())
            for (receiver, count) in reconciled.abandoned {
                logger.error(
                    "alerts given up, their receiver is no longer configured",
                    metadata: ["receiver": "\(receiver)", "count": "\(count)"])
            }
            for unended in reconciled.unended {
                logger.warning(
                    "a receiver was told of an alert and will not be told of its end: its address is no longer configured",
                    metadata: ["receiver": "\(unended.receiver)", "alert": "\(unended.alert)"])
            }
            logger.tell(reconciled.released)
            wakeAll()
        } catch {
            logger.error("alert outbox cannot be read", metadata: ["error": "\("\(error)".oneLine(limit: 300))"])
        }
    }

    private static func bookRules(_ rules: [Rule], _ defaults: AlertRule, _ byName: [String: AlertRule]) -> KnownAlerts.Rules {
        let directions = rules.map { rule -> (String, Bool) in
            if case .value(let value) = rule.condition { (rule.name, value.direction == .lowerIsWorse) } else { (rule.name, false) }
        }
        return KnownAlerts.Rules(
            lowerIsWorse: Dictionary(directions) { first, _ in first }, defaults: defaults, byName: byName)
    }
}
