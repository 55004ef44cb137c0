import Vitals

/// Which delivery is next for one receiver, and when: a pure value.
struct RetryBook: Sendable {
    enum Next: Sendable, Equatable {
        case send(Delivery)
        case wait(until: MonotonicInstant?)
    }

    private struct Key: Sendable {
        var failures: Int
        var notBefore: MonotonicInstant
    }

    let policy: RetryPolicy
    /// By notice: the next one of the same alert has nothing to do with the delays of this one.
    private var keys: [String: Key] = [:]
    /// What `Retry-After` asked for: it holds for all that is sent to the receiver.
    private var notBefore: MonotonicInstant?
    private(set) var outageSince: MonotonicInstant?
    /// The receiver answered 410: nothing is sent until it is configured anew.
    private(set) var isDisabled = false

    init(policy: RetryPolicy = RetryPolicy()) {
        self.policy = policy
    }

    /// The oldest head whose time has come.
    func next(among heads: [Delivery], now: MonotonicInstant) -> Next {
        guard !isDisabled else { return .wait(until: nil) }
        if let notBefore, notBefore > now { return .wait(until: heads.isEmpty ? nil : notBefore) }
        if let due = heads.first(where: { (keys[$0.notice.id]?.notBefore ?? now) <= now }) { return .send(due) }
        return .wait(until: heads.compactMap { keys[$0.notice.id]?.notBefore }.min())
    }

    /// The receiver is there: whatever else waits may be tried at once.
    mutating func succeeded(_ delivery: Delivery, now: MonotonicInstant) {
        keys[delivery.notice.id] = nil
        for id in keys.keys { keys[id]?.notBefore = now }
        notBefore = nil
        outageSince = nil
    }

    /// No answer, or one that is no acceptance: a refusal may end with a deployment or a new setting, as an outage does.
    mutating func failed(
        _ delivery: Delivery, retryAfter: Duration?, now: MonotonicInstant, using generator: inout some RandomNumberGenerator
    ) {
        let since = outageSince ?? now
        outageSince = since
        let failures = (keys[delivery.notice.id]?.failures ?? 0) + 1
        let ceiling = policy.ceiling(attempt: failures, outage: now - since)
        let delay = Duration.nanoseconds(Int64.random(in: 0...ceiling.nanoseconds, using: &generator))
        keys[delivery.notice.id] = Key(failures: failures, notBefore: now + delay)
        if let retryAfter { notBefore = now + retryAfter }
    }

    /// - Parameter ids: of the notices that wait.
    mutating func forgetAll(but ids: Set<String>) { keys = keys.filter { ids.contains($0.key) } }

    mutating func disable() { isDisabled = true }

    mutating func reset() { self = RetryBook(policy: policy) }
}
