import Logging
import Synchronization
import Vitals

/// Sends one receiver what waits for it: a dead receiver neither delays nor repeats what another gets.
///
/// `run` looks at the rows, takes one step, and looks again. In the end each notice that waits is delivered, or a dead letter, or released because
/// it is not owed any more. After a restart `run` goes on where the rows say.
final class ReceiverQueue: Sendable {
    private let outbox: Outbox
    private let sender: any NoticeSender
    private let time: any TimeSource
    private let logger: Logger
    private let bell = Doorbell()
    private let lag = Histogram(bounds: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400])
    private let state: Mutex<State>

    private struct State {
        var receiver: Receiver
        var recipient: Recipient
        var externalURL: String
        var schedule: DeliverySchedule
        var isRetired = false
        var ending = Ending.no
        /// Accepted, and not yet marked as delivered, since the store failed: never sent again by this process.
        var unmarked: Set<String> = []
        /// Episodes of open alerts of which the receiver has accepted a firing.
        var told: Set<String> = []
        var attempts: [AttemptResult: Int] = Dictionary(uniqueKeysWithValues: AttemptResult.allCases.map { ($0, 0) })
        var lastSuccess: WallTime?
        var lastError: String?
        var lastErrorAt: WallTime?
        /// A refusal has been logged since the last success.
        var refusalIsLogged = false
        var deadLetters = 0
    }

    private enum Ending {
        case no
        /// Nothing more is sent, except what would be lost with the process.
        case asked
        /// The same, and no more notices will come.
        case last
    }

    init(
        _ receiver: Receiver, as recipient: Recipient, outbox: Outbox, sender: any NoticeSender, externalURL: String, policy: RetryPolicy,
        time: any TimeSource, logger: Logger
    ) {
        self.outbox = outbox
        self.sender = sender
        self.time = time
        self.logger = logger
        state = Mutex(
            State(receiver: receiver, recipient: recipient, externalURL: externalURL, schedule: DeliverySchedule(outbox.policy, policy)))
    }

    var receiver: Receiver { state.withLock { $0.receiver } }
    var recipient: Recipient { state.withLock { $0.recipient } }

    /// There is something new in the outbox.
    func wake() { bell.ring() }

    /// The same address with another name or secret: tried anew at once.
    func reconfigure(_ receiver: Receiver, as recipient: Recipient) {
        let changed = state.withLock { state -> Bool in
            guard state.receiver != receiver || state.recipient != recipient || state.schedule.retries.isDisabled else { return false }
            state.receiver = receiver
            state.recipient = recipient
            state.schedule.retries.reset()
            return true
        }
        if changed { bell.ring() }
    }

    func replace(externalURL: String) {
        state.withLock { $0.externalURL = externalURL }
    }

    /// Ends `run` after the attempt in progress.
    func retire() {
        state.withLock { $0.isRetired = true }
        bell.ring()
    }

    /// The program ends: what waits stays for the next start, unless it would be lost with the process.
    func stop() {
        state.withLock { if $0.ending == .no { $0.ending = .asked } }
        bell.ring()
    }

    /// Ends `run` after `stop`: all that was observed is in the outbox.
    func finish() {
        state.withLock { $0.ending = .last }
        bell.ring()
    }

    func run() async {
        await work()
        sayWhatIsLost()
    }

    private func work() async {
        while !Task.isCancelled {
            // Read before the rows. Read after them, `finish` could come in between, and the last rows would be missed.
            let (recipient, ending) = state.withLock { ($0.recipient, $0.ending) }
            do {
                switch step(for: try await outbox.waiting(for: recipient), ending) {
                case nil: return
                case .setAside(let waiting)?: try await makeDeadLetters(of: [waiting], alert: "?", reason: "this version of healthd cannot read it")
                case .expire(let episode, let alert)?:
                    try await makeDeadLetters(of: episode, alert: alert, reason: "not delivered within \(outbox.policy.expiry.text)")
                case .send(let delivery)?: try await attempt(delivery)
                case .wait(let instant)?: await bell.wait(until: instant, time: time)
                }
            } catch {
                guard !Task.isCancelled else { return }
                logger.outboxFailed(error, receiver: recipient.name)
                await bell.wait(until: time.now() + .seconds(1), time: time)
            }
        }
    }

    /// What is to be done next; nil: `run` ends.
    private func step(for queue: DeliveryQueue, _ ending: Ending) -> DeliverySchedule.Step? {
        let (now, wall) = (time.now(), time.wallNow())
        let (step, isRetired) = state.withLock { state in
            state.told = queue.told
            return (state.schedule.step(for: queue, now: now, wall: wall), state.isRetired)
        }
        if isRetired { return nil }
        switch step {
        case .send where ending != .no && !outbox.store.isInMemory: return ending == .last ? nil : .wait(until: nil)
        case .wait where ending == .last: return nil
        default: return step
        }
    }

    /// Logs at the end what still waits, if the file cannot be used. What came since the file failed is lost; the file has the others.
    private func sayWhatIsLost() {
        let (recipient, waiting, isRetired) = state.withLock { state in
            (state.recipient, Set(state.schedule.sights.keys).subtracting(state.unmarked), state.isRetired)
        }
        guard outbox.store.isInMemory, !isRetired else { return }
        for id in waiting.sorted() {
            logger.error(
                "a notice was not sent and its file cannot be used: unless it was written there before, it is lost",
                metadata: ["receiver": "\(recipient.name)", "id": "\(id)"])
        }
    }

    /// Sends a notice once, and stores what the receiver answered.
    private func attempt(_ delivery: Delivery) async throws {
        let notice = delivery.notice
        if state.withLock({ $0.unmarked.contains(notice.id) }) { return try await mark(delivery) }
        let (receiver, externalURL) = state.withLock { ($0.receiver, $0.externalURL) }
        let body = try WebhookBody(notice, receiver: receiver.name, externalURL: externalURL).bytes()
        let answer = await sender.send(body, id: notice.id, to: receiver)
        state.withLock { $0.schedule.noteAttempt(delivery) }
        switch answer {
        case .accepted: try await accept(delivery, by: receiver)
        case .tryAgain(let result, let reason, let after):
            guard !Task.isCancelled else { return }
            try await postpone(delivery, result, reason: reason, after: after, wasRefused: false)
        case .refused(let reason): try await postpone(delivery, .httpError, reason: reason, after: nil, wasRefused: true)
        case .gone(let reason):
            count(.httpError, error: reason)
            // An answer to what was sent before a reload says nothing of the receiver as it is configured since.
            let isCurrent = state.withLock { state in
                if state.receiver == receiver { state.schedule.retries.disable() }
                return state.receiver == receiver
            }
            if isCurrent {
                logger.error(
                    "alert receiver wants nothing more and is disabled until a reload or a start",
                    metadata: ["receiver": "\(receiver.name)", "host": "\(receiver.host)", "answer": "\(reason)"])
            }
            logger.logUntold(try await outbox.noteAttempt(delivery, answer: reason, wasRefused: isCurrent, at: time.wallNow()))
        }
    }

    private func accept(_ delivery: Delivery, by receiver: Receiver) async throws {
        let now = time.now()
        let wall = time.wallNow()
        let (wasOut, age) = state.withLock { state -> (Duration?, Duration?) in
            let wasOut = state.schedule.retries.outageSince.map { now - $0 }
            state.schedule.retries.succeeded(delivery, now: now)
            state.attempts[.ok, default: 0] += 1
            state.unmarked.insert(delivery.notice.id)
            state.lastSuccess = wall
            state.refusalIsLogged = false
            if delivery.notice.status == .firing { state.told.insert(delivery.notice.episode) }
            return (wasOut, state.schedule.age(of: delivery.notice.id, at: now))
        }
        if let age { lag.record(age) }
        try await mark(delivery)
        var metadata: Logger.Metadata = [
            "receiver": "\(receiver.name)", "alert": "\(delivery.notice.alertName)",
            "why": "\(delivery.notice.why.rawValue)", "id": "\(delivery.notice.id)", "attempts": "\(delivery.attempts + 1)",
        ]
        if let wasOut { metadata["outage"] = "\(wasOut.text)" }
        logger.info("notice delivered", metadata: metadata)
    }

    /// What has been accepted must not be sent again after a restart.
    private func mark(_ delivery: Delivery) async throws {
        var wasOwed = false
        // A reload may have given its row another key (`Recipient.all`). The longer key has the receiver's name in it, and is nobody else's: first.
        for key in Set([delivery.recipient.addressKey, recipient.addressKey]).sorted(by: { $0.count > $1.count }) where !wasOwed {
            var addressed = delivery
            addressed.recipient.addressKey = key
            wasOwed = try await outbox.markDelivered(addressed, at: time.wallNow())
        }
        if !wasOwed, delivery.notice.status == .firing, state.withLock({ $0.isRetired }) {
            logger.logUnended(receiver: delivery.recipient.name, alert: delivery.notice.alertName)
        }
        state.withLock { state in
            state.unmarked.remove(delivery.notice.id)
            state.schedule.forget(delivery.notice.id)
        }
    }

    /// It was not accepted, and waits for another attempt.
    private func postpone(_ delivery: Delivery, _ result: AttemptResult, reason: String, after: Duration?, wasRefused: Bool) async throws {
        count(result, error: reason)
        let now = time.now()
        var generator = SystemRandomNumberGenerator()
        let (isFirst, isFirstRefusal) = state.withLock { state -> (Bool, Bool) in
            let isFirst = state.schedule.retries.outageSince == nil
            state.schedule.retries.failed(delivery, retryAfter: after, now: now, using: &generator)
            defer { state.refusalIsLogged = state.refusalIsLogged || wasRefused }
            return (isFirst, wasRefused && !state.refusalIsLogged)
        }
        // Logged once per outage, and once more when it turns out that somebody has to act; the status has the rest.
        logger.log(
            level: isFirstRefusal ? .error : isFirst ? .warning : .debug, "notice not delivered, will be tried again",
            metadata: ["receiver": "\(delivery.recipient.name)", "host": "\(receiver.host)", "reason": "\(reason)"])
        logger.logUntold(try await outbox.noteAttempt(delivery, answer: reason, wasRefused: wasRefused, at: time.wallNow()))
    }

    private func makeDeadLetters(of all: [DeliveryQueue.Waiting], alert: String, reason: String) async throws {
        let (recipient, host) = state.withLock { ($0.recipient, $0.receiver.host) }
        let released = try await outbox.makeDeadLetters(of: all, for: recipient, answer: reason, at: time.wallNow())
        for waiting in all {
            state.withLock { state in
                state.schedule.forget(waiting.id)
                state.deadLetters += 1
            }
            logger.error(
                "notice became a dead letter",
                metadata: [
                    "receiver": "\(recipient.name)", "host": "\(host)", "id": "\(waiting.id)", "alert": "\(alert)", "reason": "\(reason)",
                ])
        }
        logger.logUntold(released)
    }

    private func count(_ result: AttemptResult, error: String) {
        let wall = time.wallNow()
        state.withLock { state in
            state.attempts[result, default: 0] += 1
            state.lastError = error
            state.lastErrorAt = wall
        }
    }

    /// Episodes of open alerts of which the receiver has accepted a firing.
    var told: Set<String> { state.withLock { $0.told } }

    func status() -> ReceiverStatus {
        let now = time.now()
        let lag = lag.snapshot()
        return state.withLock { state in
            ReceiverStatus(
                name: state.receiver.name, host: state.receiver.host, queued: state.schedule.sights.count,
                oldest: state.schedule.oldestAge(at: now), attempts: state.attempts, lastSuccess: state.lastSuccess,
                lastError: state.lastError, lastErrorAt: state.lastErrorAt, deadLetters: state.deadLetters,
                failingFor: state.schedule.retries.outageSince.map { now - $0 }, isDisabled: state.schedule.retries.isDisabled, lag: lag)
        }
    }
}
