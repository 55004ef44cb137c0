import Vitals

/// Decides the next step for what waits for one receiver. A pure value: it is given the rows as they are, and remembers what this process saw
/// and tried.
struct DeliverySchedule: Sendable {
    enum Step: Sendable {
        /// This version cannot read it.
        case setAside(DeliveryQueue.Waiting)
        /// All that waits of an episode that is over, and has been owed for long enough.
        case expire([DeliveryQueue.Waiting], alert: String)
        case send(Delivery)
        /// Nothing is due before; nil: nothing at all, until other rows come.
        case wait(until: MonotonicInstant?)
    }

    let policy: OutboxPolicy
    var retries: RetryBook
    /// Of what waits, by the notice's id.
    private(set) var sights: [String: Sight] = [:]
    /// The ids of what waits and was tried by this process: no episode expires before its oldest waiting notice was tried.
    private var tried: Set<String> = []

    init(_ policy: OutboxPolicy, _ retries: RetryPolicy) {
        self.policy = policy
        self.retries = RetryBook(policy: retries)
    }

    mutating func step(for queue: DeliveryQueue, now: MonotonicInstant, wall: WallTime) -> Step {
        see(queue, now: now, wall: wall)
        if let unreadable = queue.unreadable.first { return .setAside(unreadable) }
        var nextExpiry: MonotonicInstant?
        for head in queue.heads where tried.contains(head.notice.id) {
            let episode = queue.waiting.filter { $0.fingerprint == head.notice.fingerprint && $0.episode == head.notice.episode }
            guard !episode.contains(where: \.isOpen), let end = policy.owedUntil(episode.compactMap { sights[$0.id] }) else { continue }
            if end <= now { return .expire(episode, alert: head.notice.alertName) }
            nextExpiry = min(nextExpiry ?? end, end)
        }
        switch retries.next(among: queue.heads, now: now) {
        case .send(let delivery): return .send(delivery)
        case .wait(let retry): return .wait(until: [retry, nextExpiry].compactMap { $0 }.min())
        }
    }

    /// Takes notice of what is new, and forgets what does not wait any more.
    private mutating func see(_ queue: DeliveryQueue, now: MonotonicInstant, wall: WallTime) {
        let ids = Set(queue.waiting.map(\.id))
        sights = sights.filter { ids.contains($0.key) }
        tried.formIntersection(ids)
        retries.forgetAll(but: ids)
        for waiting in queue.waiting where sights[waiting.id] == nil {
            sights[waiting.id] = Sight(at: now, age: wall - waiting.created)
        }
    }

    /// It does not wait any more: it has its end.
    mutating func forget(_ id: String) { sights[id] = nil }

    mutating func noteAttempt(_ delivery: Delivery) { tried.insert(delivery.notice.id) }

    /// How long the notice has waited; nil when it was not seen to wait.
    func age(of id: String, at now: MonotonicInstant) -> Duration? { sights[id]?.age(at: now) }

    func oldestAge(at now: MonotonicInstant) -> Duration? { sights.values.map { $0.age(at: now) }.max() }
}

/// When this process first saw a notice waiting, and how old it was then by the wall clock. From there on its age is the monotonic clock's.
struct Sight: Sendable, Hashable {
    var at: MonotonicInstant
    var age: Duration

    init(at: MonotonicInstant, age: Duration) {
        self.at = at
        // The wall clock may have been set back since.
        self.age = max(.zero, age)
    }

    func age(at now: MonotonicInstant) -> Duration { age + (now - at) }
}
