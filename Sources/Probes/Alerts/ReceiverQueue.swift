import Logging
import Synchronization
import Vitals

/// One receiver's own queue and budget: a dead receiver neither delays nor repeats what another gets.
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
        var book: RetryBook
        var isRetired = false
        var ending = Ending.no
        /// Accepted, but not yet marked: never sent again by this process.
        var unmarked: Set<String> = []
        /// Of what waits, by id.
        var sights: [String: Sight] = [:]
        /// That of the store when its rows were last read; nil before.
        var generation: Int?
        /// Tried by this process, of what waits.
        var tried: Set<String> = []
        /// Episodes of open alerts of which the receiver took a firing.
        var told: Set<String> = []
        var attempts: [AttemptResult: Int] = Dictionary(uniqueKeysWithValues: AttemptResult.allCases.map { ($0, 0) })
        var lastSuccess: WallTime?
        var lastError: String?
        var lastErrorAt: WallTime?
        /// A refusal has been logged since the last success.
        var refusalIsSaid = false
        var deadLetters = 0
    }

    private enum Ending {
        case no
        /// Nothing more is begun, unless it would be lost with the process.
        case asked
        /// And nothing more comes.
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
        state = Mutex(State(receiver: receiver, recipient: recipient, externalURL: externalURL, book: RetryBook(policy: policy)))
    }

    var receiver: Receiver { state.withLock { $0.receiver } }
    var recipient: Recipient { state.withLock { $0.recipient } }

    /// There is something new in the outbox.
    func wake() { bell.ring() }

    /// The same address with another name or secret: tried anew at once.
    func reconfigure(_ receiver: Receiver, as recipient: Recipient) {
        let changed = state.withLock { state -> Bool in
            guard state.receiver != receiver || state.book.isDisabled else { return false }
            state.receiver = receiver
            state.recipient = recipient
            state.book.reset()
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
        while !Task.isCancelled {
            // Before the rows are read: "nothing more comes" is no news of those that came in between.
            let (recipient, ending) = state.withLock { ($0.recipient, $0.ending) }
            let generation = outbox.store.generation
            do {
                let queue = try await outbox.queue(of: recipient)
                reportLost(queue, generation, outbox.store.generation, for: recipient)
                switch next(queue, ending, now: time.now()) {
                case .end: return
                case .setAside(let waiting): try await setAside(waiting)
                case .expire(let stretch, let head): try await expire(stretch, head)
                case .send(let delivery): try await attempt(delivery)
                case .wait(let instant): await bell.wait(until: instant, time: time)
                }
            } catch {
                guard !Task.isCancelled else { return }
                logger.error("alert outbox cannot be read", metadata: ["receiver": "\(recipient.name)", "error": "\(error)"])
                await bell.wait(until: time.now() + .seconds(1), time: time)
            }
        }
    }

    /// What waited, and is not among the rows of a store that lost some: nobody will get it.
    ///
    /// - Parameters:
    ///   - before: the store's generation before the rows were read.
    ///   - after: its generation now. The reading itself may be what the rows were lost at.
    private func reportLost(_ queue: DeliveryQueue, _ before: Int, _ after: Int, for recipient: Recipient) {
        let present = Set(queue.waiting.map(\.id))
        let lost = state.withLock { state -> [String] in
            defer { state.generation = before }
            guard let known = state.generation, known != after else { return [] }
            let lost = state.sights.keys.filter { !present.contains($0) }.sorted()
            state.deadLetters += lost.count
            return lost
        }
        for id in lost {
            logger.error("a notice was lost with the file that it waited in", metadata: ["receiver": "\(recipient.name)", "id": "\(id)"])
        }
    }

    private enum Next {
        case end
        /// This version cannot read it.
        case setAside(DeliveryQueue.Waiting)
        /// A stretch that is over, and has been owed for long enough.
        case expire([DeliveryQueue.Waiting], Delivery)
        case send(Delivery)
        case wait(MonotonicInstant?)
    }

    private func next(_ queue: DeliveryQueue, _ ending: Ending, now: MonotonicInstant) -> Next {
        let wall = time.wallNow()
        return state.withLock { state in
            state.told = queue.told
            let ids = Set(queue.waiting.map(\.id))
            state.sights = state.sights.filter { ids.contains($0.key) }
            state.tried.formIntersection(ids)
            state.book.forgetAll(but: ids)
            for waiting in queue.waiting where state.sights[waiting.id] == nil {
                state.sights[waiting.id] = Sight(at: now, age: wall - waiting.created)
            }
            if state.isRetired { return .end }
            if let unreadable = queue.unreadable.first { return .setAside(unreadable) }

            var nextExpiry: MonotonicInstant?
            for head in queue.heads where state.tried.contains(head.notice.id) {
                let stretch = queue.waiting.filter { $0.fingerprint == head.notice.fingerprint && $0.episode == head.notice.episode }
                guard !stretch.contains(where: \.isOpen), let end = outbox.policy.owedUntil(stretch.compactMap { state.sights[$0.id] }) else {
                    continue
                }
                if end <= now { return .expire(stretch, head) }
                nextExpiry = min(nextExpiry ?? end, end)
            }
            switch state.book.next(among: queue.heads, now: now) {
            case .send(let delivery) where ending == .no || outbox.store.isInMemory: return .send(delivery)
            case .send: return ending == .last ? .end : .wait(nil)
            case .wait(let instant): return ending == .last ? .end : .wait([instant, nextExpiry].compactMap { $0 }.min())
            }
        }
    }

    private func attempt(_ delivery: Delivery) async throws {
        let notice = delivery.notice
        if state.withLock({ $0.unmarked.contains(notice.id) }) { return try await mark(delivery) }
        // Its firing was taken back after it was queued, or taken by another address: an answer to a question never asked.
        if notice.status == .resolved, try await !outbox.wasTold(delivery.recipient, of: notice.episode) {
            try await outbox.end(
                delivery.sequence, for: delivery.recipient, as: .superseded, answer: OutboxPolicy.Release.neverTold.rawValue, wasTried: false,
                at: time.wallNow())
            return logger.tell([Released(receiver: delivery.recipient.name, alert: notice.labels["alertname"] ?? "?", why: .neverTold)])
        }
        let (receiver, externalURL) = state.withLock { ($0.receiver, $0.externalURL) }
        let body = try WebhookBody(notice, receiver: receiver.name, externalURL: externalURL).bytes()
        let answer = await sender.send(body, id: notice.id, to: receiver)
        state.withLock { _ = $0.tried.insert(notice.id) }
        switch answer {
        case .accepted: try await accept(delivery, by: receiver)
        case .tryAgain(let result, let reason, let after):
            guard !Task.isCancelled else { return }
            try await postpone(delivery, result, reason: reason, after: after, wasRefused: false)
        case .refused(let reason): try await postpone(delivery, .httpError, reason: reason, after: nil, wasRefused: true)
        case .gone(let reason):
            count(.httpError, error: reason)
            state.withLock { $0.book.disable() }
            logger.error(
                "alert receiver wants nothing more and is disabled until a reload or a start",
                metadata: ["receiver": "\(receiver.name)", "host": "\(receiver.host)", "answer": "\(reason)"])
            logger.tell(try await outbox.noteAttempt(delivery, answer: reason, wasRefused: true, at: time.wallNow()))
        }
    }

    private func accept(_ delivery: Delivery, by receiver: Receiver) async throws {
        let now = time.now()
        let wall = time.wallNow()
        let (wasOut, age) = state.withLock { state -> (Duration?, Duration?) in
            let wasOut = state.book.outageSince.map { now - $0 }
            state.book.succeeded(delivery, now: now)
            state.attempts[.ok, default: 0] += 1
            state.unmarked.insert(delivery.notice.id)
            state.lastSuccess = wall
            state.refusalIsSaid = false
            if delivery.notice.status == .firing { state.told.insert(delivery.notice.episode) }
            return (wasOut, state.sights[delivery.notice.id]?.age(at: now))
        }
        lag.record(age ?? .zero)
        try await mark(delivery)
        var metadata: Logger.Metadata = [
            "receiver": "\(receiver.name)", "alert": "\(delivery.notice.labels["alertname"] ?? "")",
            "notice": "\(delivery.notice.why.rawValue)", "id": "\(delivery.notice.id)", "attempts": "\(delivery.attempts + 1)",
        ]
        if let wasOut { metadata["outage"] = "\(wasOut.text)" }
        logger.info("alert delivered", metadata: metadata)
    }

    private func mark(_ delivery: Delivery) async throws {
        try await outbox.end(delivery.sequence, for: delivery.recipient, as: .delivered, answer: "accepted", at: time.wallNow())
        state.withLock { _ = $0.unmarked.remove(delivery.notice.id) }
    }

    private func postpone(_ delivery: Delivery, _ result: AttemptResult, reason: String, after: Duration?, wasRefused: Bool) async throws {
        count(result, error: reason)
        let now = time.now()
        var generator = SystemRandomNumberGenerator()
        let (isFirst, isFirstRefusal) = state.withLock { state -> (Bool, Bool) in
            let isFirst = state.book.outageSince == nil
            state.book.failed(delivery, retryAfter: after, now: now, using: &generator)
            defer { state.refusalIsSaid = state.refusalIsSaid || wasRefused }
            return (isFirst, wasRefused && !state.refusalIsSaid)
        }
        // Said once per outage, and once more when it turns out that somebody has to act; the status tells the rest.
        logger.log(
            level: isFirstRefusal ? .error : isFirst ? .warning : .debug, "alert not delivered, will be tried again",
            metadata: ["receiver": "\(delivery.recipient.name)", "host": "\(receiver.host)", "reason": "\(reason)"])
        logger.tell(try await outbox.noteAttempt(delivery, answer: reason, wasRefused: wasRefused, at: time.wallNow()))
    }

    private func expire(_ stretch: [DeliveryQueue.Waiting], _ head: Delivery) async throws {
        try await giveUp(stretch, alert: head.notice.labels["alertname"] ?? "", reason: "not delivered within \(outbox.policy.expiry.text)")
    }

    private func setAside(_ waiting: DeliveryQueue.Waiting) async throws {
        try await giveUp([waiting], alert: "", reason: "this version of healthd cannot read it")
    }

    private func giveUp(_ stretch: [DeliveryQueue.Waiting], alert: String, reason: String) async throws {
        let recipient = recipient
        for waiting in stretch {
            logger.error(
                "alert given up",
                metadata: [
                    "receiver": "\(recipient.name)", "host": "\(receiver.host)", "id": "\(waiting.id)", "alert": "\(alert)", "reason": "\(reason)",
                ])
            try await outbox.end(waiting.sequence, for: recipient, as: .dead, answer: reason, wasTried: false, at: time.wallNow())
            state.withLock { $0.deadLetters += 1 }
        }
    }

    private func count(_ result: AttemptResult, error: String) {
        let wall = time.wallNow()
        state.withLock { state in
            state.attempts[result, default: 0] += 1
            state.lastError = error
            state.lastErrorAt = wall
        }
    }

    /// Of the episodes of open alerts those of which the receiver took a firing.
    var told: Set<String> { state.withLock { $0.told } }

    func status() -> ReceiverStatus {
        let now = time.now()
        let lag = lag.snapshot()
        return state.withLock { state in
            ReceiverStatus(
                name: state.receiver.name, host: state.receiver.host, queued: state.sights.count,
                oldest: state.sights.values.map { $0.age(at: now) }.max(), attempts: state.attempts, lastSuccess: state.lastSuccess,
                lastError: state.lastError, lastErrorAt: state.lastErrorAt, deadLetters: state.deadLetters,
                failingFor: state.book.outageSince.map { now - $0 }, isDisabled: state.book.isDisabled, lag: lag)
        }
    }
}
