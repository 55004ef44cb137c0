import FoundationEssentials
public import Logging
import Synchronization
public import Vitals

/// From transitions to accepted notices: the alert states, the outbox, and a queue for each receiver.
///
/// PostgreSQL is nowhere on this way.
public final class Dispatcher: Sendable {
    private let outbox: Outbox
    private let sender: any NoticeSender
    private let externalURL: String
    private let policy: RetryPolicy
    private let time: any TimeSource
    private let logger: Logger
    private let book: AlertBook
    private let bell = Doorbell()
    private let state: Mutex<State>

    private struct State {
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
        self.externalURL = externalURL
        self.policy = policy
        self.time = time
        self.logger = logger
        book = AlertBook(
            outbox: outbox, rules: Self.bookRules(rules, alertRule, alertRules), receivers: receivers.map(\.name),
            instance: instance, time: time, logger: logger)
        let queues = receivers.map {
            ReceiverQueue(
                $0, outbox: outbox, sender: sender, externalURL: externalURL, policy: policy, time: time, logger: logger)
        }
        state = Mutex(State(queues: queues, fresh: queues, defaults: alertRule, byRule: alertRules))
    }

    /// For `HealthBoard.observe`; never blocks.
    public func observe(_ transition: Transition) {
        book.observe(transition)
    }

    /// Until cancelled; what is undelivered then stays in the outbox for the next start.
    public func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.book.run { self.wakeAll() } }
            await abandonStrangers()
            while !Task.isCancelled {
                let fresh = state.withLock { state -> [ReceiverQueue] in
                    defer { state.fresh = [] }
                    return state.fresh
                }
                for queue in fresh { group.addTask { await queue.run() } }
                await bell.wait()
                if !Task.isCancelled { await abandonStrangers() }
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

    /// After a reload: a receiver of the same name keeps its queue, what waited for one that went becomes a dead letter,
    /// a new one is told what happens from now on. Nothing is sent twice.
    public func replace(receivers: [Receiver]) {
        let names = receivers.map(\.name)
        let (kept, retired) = state.withLock { state -> ([(ReceiverQueue, Receiver)], [ReceiverQueue]) in
            var kept: [(ReceiverQueue, Receiver)] = []
            var next: [ReceiverQueue] = []
            for receiver in receivers {
                if let queue = state.queues.first(where: { $0.receiver.name == receiver.name }) {
                    kept.append((queue, receiver))
                    next.append(queue)
                } else {
                    let queue = ReceiverQueue(
                        receiver, outbox: outbox, sender: sender, externalURL: externalURL, policy: policy, time: time,
                        logger: logger)
                    next.append(queue)
                    state.fresh.append(queue)
                }
            }
            let retired = state.queues.filter { !names.contains($0.receiver.name) }
            state.queues = next
            return (kept, retired)
        }
        book.replace(receivers: names)
        kept.forEach { $0.reconfigure($1) }
        retired.forEach { $0.retire() }
        bell.ring()
    }

    public func snapshot() -> AlertsSnapshot {
        let (open, suppressed, problem) = book.snapshot()
        let queues = state.withLock { $0.queues }
        return AlertsSnapshot(
            open: open, receivers: queues.map { $0.status() }.sorted { $0.name < $1.name }, suppressed: suppressed,
            outboxProblem: problem)
    }

    private func wakeAll() {
        state.withLock { $0.queues }.forEach { $0.wake() }
    }

    private func abandonStrangers() async {
        let names = state.withLock { $0.queues.map(\.receiver.name) }
        do {
            for (receiver, count) in try await outbox.abandon(exceptFor: names, at: time.wallNow()) {
                logger.error(
                    "alerts given up, their receiver is no longer configured",
                    metadata: ["receiver": "\(receiver)", "count": "\(count)"])
            }
        } catch {
            logger.error("alert outbox cannot be read", metadata: ["error": "\("\(error)".oneLine(limit: 300))"])
        }
    }

    private static func bookRules(_ rules: [Rule], _ defaults: AlertRule, _ byName: [String: AlertRule]) -> AlertBook.Rules {
        let directions = rules.map { rule -> (String, Bool) in
            if case .value(let value) = rule.condition { (rule.name, value.direction == .lowerIsWorse) } else { (rule.name, false) }
        }
        return AlertBook.Rules(
            lowerIsWorse: Dictionary(directions) { first, _ in first }, defaults: defaults, byName: byName)
    }
}
