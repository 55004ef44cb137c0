import Logging
import Synchronization
import Vitals

/// One receiver's own queue and budget: a dead receiver neither delays nor repeats what another gets.
final class ReceiverQueue: Sendable {
    private let outbox: Outbox
    private let sender: any NoticeSender
    private let externalURL: String
    private let time: any TimeSource
    private let logger: Logger
    private let bell = Doorbell()
    private let lag = Histogram(bounds: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400])
    private let state: Mutex<State>

    private struct State {
        var receiver: Receiver
        var book: RetryBook
        var retired = false
        /// Accepted, but the disk refused to take note of it: never sent again by this process.
        var unmarked: Set<Int64> = []
        var queued = 0
        var oldest: WallTime?
        var attempts: [AttemptResult: Int] = Dictionary(uniqueKeysWithValues: AttemptResult.allCases.map { ($0, 0) })
        var lastSuccess: WallTime?
        var lastError: String?
        var lastErrorAt: WallTime?
        var deadLetters = 0
    }

    init(
        _ receiver: Receiver, outbox: Outbox, sender: any NoticeSender, externalURL: String, policy: RetryPolicy,
        time: any TimeSource, logger: Logger
    ) {
        self.outbox = outbox
        self.sender = sender
        self.externalURL = externalURL
        self.time = time
        self.logger = logger
        state = Mutex(State(receiver: receiver, book: RetryBook(policy: policy)))
    }

    var receiver: Receiver { state.withLock { $0.receiver } }

    /// There is something new in the outbox.
    func wake() { bell.ring() }

    /// The same name with another address or secret: tried anew at once.
    func reconfigure(_ receiver: Receiver) {
        let changed = state.withLock { state -> Bool in
            guard state.receiver != receiver || state.book.isDisabled else { return false }
            state.receiver = receiver
            state.book.reset()
            return true
        }
        if changed { bell.ring() }
    }

    /// Ends `run` after the attempt in progress.
    func retire() {
        state.withLock { $0.retired = true }
        bell.ring()
    }

    func run() async {
        while !Task.isCancelled {
            let name = receiver.name
            do {
                let queue = try await outbox.queue(of: name)
                let now = time.now()
                let next = state.withLock { state -> RetryBook.Next? in
                    state.queued = queue.length
                    state.oldest = queue.oldest
                    return state.retired ? nil : state.book.next(among: queue.heads, now: now)
                }
                switch next {
                case nil: return
                case .send(let delivery): try await attempt(delivery)
                case .wait(let instant): await bell.wait(until: instant, time: time)
                }
            } catch {
                guard !Task.isCancelled else { return }
                logger.error("alert outbox cannot be read", metadata: ["receiver": "\(name)", "error": "\(error)"])
                await bell.wait(until: time.now() + .seconds(1), time: time)
            }
        }
    }

    private func attempt(_ delivery: Delivery) async throws {
        let notice = delivery.notice
        let (policy, accepted) = state.withLock { ($0.book.policy, $0.unmarked.contains(delivery.sequence)) }
        if accepted { return try await mark(delivery) }
        if time.wallNow() - notice.at > policy.expiry {
            return try await giveUp(delivery, reason: "not delivered within \(policy.expiry.text)")
        }
        // A resolved whose firing was given up would be an answer to a question never asked.
        if notice.status == .resolved, try await !outbox.wasDelivered(notice.episode, to: delivery.receiver) {
            return try await outbox.end(
                delivery, as: .superseded, answer: "its firing was never delivered", at: time.wallNow())
        }
        let receiver = receiver
        let body = try WebhookBody(notice, receiver: receiver.name, externalURL: externalURL).bytes()
        let answer = await sender.send(body, id: notice.id, to: receiver)
        switch answer {
        case .accepted: try await accept(delivery, by: receiver)
        case .tryAgain(let result, let reason, let after):
            guard !Task.isCancelled else { return }
            try await postpone(delivery, result, reason: reason, after: after)
        case .refused(let reason):
            count(.httpError, error: reason)
            state.withLock { $0.book.ended(delivery) }
            try await giveUp(delivery, reason: reason)
        case .gone(let reason):
            count(.httpError, error: reason)
            state.withLock { $0.book.disable() }
            logger.error(
                "alert receiver wants nothing more and is disabled until a reload or a start",
                metadata: ["receiver": "\(receiver.name)", "host": "\(receiver.host)", "answer": "\(reason)"])
            try await giveUp(delivery, reason: reason)
        }
    }

    private func accept(_ delivery: Delivery, by receiver: Receiver) async throws {
        let wall = time.wallNow()
        let now = time.now()
        let wasOut = state.withLock { state -> Duration? in
            let wasOut = state.book.outageSince.map { now - $0 }
            state.book.succeeded(delivery, now: now)
            state.attempts[.ok, default: 0] += 1
            state.unmarked.insert(delivery.sequence)
            state.lastSuccess = wall
            return wasOut
        }
        lag.record(max(.zero, wall - delivery.notice.at))
        try await mark(delivery)
        var metadata: Logger.Metadata = [
            "receiver": "\(receiver.name)", "alert": "\(delivery.notice.labels["alertname"] ?? "")",
            "notice": "\(delivery.notice.why.rawValue)", "id": "\(delivery.notice.id)", "attempts": "\(delivery.attempts + 1)",
        ]
        if let wasOut { metadata["outage"] = "\(wasOut.text)" }
        logger.info("alert delivered", metadata: metadata)
    }

    private func mark(_ delivery: Delivery) async throws {
        try await outbox.end(delivery, as: .delivered, answer: "accepted", at: time.wallNow())
        state.withLock { _ = $0.unmarked.remove(delivery.sequence) }
    }

    private func postpone(_ delivery: Delivery, _ result: AttemptResult, reason: String, after: Duration?) async throws {
        count(result, error: reason)
        let now = time.now()
        var generator = SystemRandomNumberGenerator()
        let first = state.withLock { state -> Bool in
            let first = state.book.outageSince == nil
            state.book.failed(delivery, retryAfter: after, now: now, using: &generator)
            return first
        }
        // Said once per outage; the status tells the rest.
        logger.log(
            level: first ? .warning : .debug, "alert not delivered, will be tried again",
            metadata: ["receiver": "\(delivery.receiver)", "host": "\(receiver.host)", "reason": "\(reason)"])
        try await outbox.noteAttempt(delivery, answer: reason, at: time.wallNow())
    }

    private func giveUp(_ delivery: Delivery, reason: String) async throws {
        logger.error(
            "alert given up",
            metadata: [
                "receiver": "\(delivery.receiver)", "host": "\(receiver.host)", "id": "\(delivery.notice.id)",
                "alert": "\(delivery.notice.labels["alertname"] ?? "")", "reason": "\(reason)",
            ])
        try await outbox.end(delivery, as: .dead, answer: reason, at: time.wallNow())
        state.withLock { $0.deadLetters += 1 }
    }

    private func count(_ result: AttemptResult, error: String) {
        let wall = time.wallNow()
        state.withLock { state in
            state.attempts[result, default: 0] += 1
            state.lastError = error
            state.lastErrorAt = wall
        }
    }

    func status() -> ReceiverStatus {
        let now = time.now()
        let wall = time.wallNow()
        let lag = lag.snapshot()
        return state.withLock { state in
            ReceiverStatus(
                name: state.receiver.name, host: state.receiver.host, queued: state.queued,
                oldest: state.oldest.map { max(.zero, wall - $0) }, attempts: state.attempts, lastSuccess: state.lastSuccess,
                lastError: state.lastError, lastErrorAt: state.lastErrorAt, deadLetters: state.deadLetters,
                failingFor: state.book.outageSince.map { now - $0 }, isDisabled: state.book.isDisabled, lag: lag)
        }
    }
}
