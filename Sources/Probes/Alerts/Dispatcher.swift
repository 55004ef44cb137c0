import FoundationEssentials
public import Logging
import Synchronization
public import Vitals

/// From transitions to accepted notices. What happens to one notice:
///
/// 1. `observe` puts a transition into the inbox of the `AlertBook`. Its `run` judges it: a notice may be due. The alert's new state, the notice,
///    and a row for each receiver that is to get it are stored in one transaction (`Outbox.commit`). Then `wakeAll` wakes the receivers' queues.
/// 2. Each receiver has a `ReceiverQueue`. Its `run` reads what waits for that receiver, and sends it (`attempt`) until it is accepted, or not owed
///    any more: how long that is, `OutboxPolicy` says.
/// 3. After a start the book reads which alerts were open, `reconcile` brings the rows in line with the receivers that there are now, and each queue
///    goes on with the rows that wait.
///
/// PostgreSQL is nowhere on this way.
public final class Dispatcher: Sendable {
    private let time: any TimeSource
    private let logger: Logger
    private let book: AlertBook
    /// For a receiver, how the outbox knows it, and the address of this healthd's page.
    private let makeQueue: @Sendable (Receiver, Recipient, String) -> ReceiverQueue
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
    }

    /// - Parameters:
    ///   - rules: those on the board; an open alert of any other rule is closed.
    ///   - instance: which healthd speaks: host and port.
    ///   - externalURL: where a person finds this healthd's page.
    public convenience init(
        outbox: Outbox, receivers: [Receiver], rules: [Rule], sender: any NoticeSender, instance: String, externalURL: String,
        time: any TimeSource, logger: Logger
    ) {
        self.init(
            outbox: outbox, receivers: receivers, rules: rules, sender: sender, instance: instance, externalURL: externalURL,
            policy: RetryPolicy(), time: time, logger: logger)
    }

    init(
        outbox: Outbox, receivers: [Receiver], rules: [Rule], sender: any NoticeSender, instance: String, externalURL: String,
        policy: RetryPolicy, time: any TimeSource, logger: Logger
    ) {
        self.time = time
        self.logger = logger
        let makeQueue: @Sendable (Receiver, Recipient, String) -> ReceiverQueue = { receiver, recipient, externalURL in
            ReceiverQueue(
                receiver, as: recipient, outbox: outbox, sender: sender, externalURL: externalURL, policy: policy, time: time, logger: logger)
        }
        self.makeQueue = makeQueue
        let recipients = Recipient.all(receivers)
        book = AlertBook(outbox: outbox, rules: rules, recipients: recipients, instance: instance, time: time, logger: logger)
        let queues = zip(receivers, recipients).map { makeQueue($0, $1, externalURL) }
        state = Mutex(State(externalURL: externalURL, queues: queues, fresh: queues))
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
    public func replace(rules: [Rule]) {
        book.replace(rules: rules)
    }

    /// After a reload. A receiver of the same address keeps its queue, whatever its name. What waited for one that went goes to the receiver that
    /// has its name now, or becomes dead letters. A new receiver is told of what is open. What is under way to one that went may be sent to its
    /// heir as well, with the same id.
    public func replace(receivers: [Receiver]) {
        let recipients = Recipient.all(receivers)
        book.replace(recipients: recipients)
        let (kept, retired) = state.withLock { state -> ([(ReceiverQueue, Receiver, Recipient)], [ReceiverQueue]) in
            var former = state.queues
            func take(_ fits: (Recipient) -> Bool) -> ReceiverQueue? {
                former.firstIndex { fits($0.recipient) }.map { former.remove(at: $0) }
            }
            var kept: [(ReceiverQueue, Receiver, Recipient)] = []
            var next: [ReceiverQueue] = []
            // Several receivers may have one address: those that keep their name come first.
            let named = recipients.map { recipient in take { $0.address == recipient.address && $0.name == recipient.name } }
            for (queue, (receiver, recipient)) in zip(named, zip(receivers, recipients)) {
                if let queue = queue ?? take({ $0.address == recipient.address }) {
                    kept.append((queue, receiver, recipient))
                    next.append(queue)
                } else {
                    let queue = makeQueue(receiver, recipient, state.externalURL)
                    next.append(queue)
                    state.fresh.append(queue)
                }
            }
            state.queues = next
            return (kept, former)
        }
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
        let (open, suppressed, trouble) = book.snapshot()
        let queues = state.withLock { $0.queues }
        let told = queues.map { (name: $0.recipient.name, episodes: $0.told) }
        return AlertsSnapshot(
            open: open.map { alert in
                var alert = alert
                alert.told = told.filter { $0.episodes.contains(alert.episode) }.map { $0.name }.sorted()
                return alert
            },
            receivers: queues.map { $0.status() }.sorted { $0.name < $1.name }, suppressed: suppressed, outboxProblem: trouble)
    }

    private func wakeAll() {
        state.withLock { $0.queues }.forEach { $0.wake() }
    }

    /// At the start, after a change of the receivers, and when the store has got other rows.
    private func reconcile() async {
        do {
            let reconciled = try await book.reconcile()
            for (receiver, count) in reconciled.deadLetters {
                logger.error(
                    "notices became dead letters, their receiver is no longer configured",
                    metadata: ["receiver": "\(receiver)", "count": "\(count)"])
            }
            for unended in reconciled.unended {
                logger.logUnended(receiver: unended.receiver, alert: unended.alert)
            }
            wakeAll()
        } catch {
            logger.outboxFailed(error)
        }
    }
}
