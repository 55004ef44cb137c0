import Vitals

/// Which operations Redis refuses at present, and when each is tried again. Pure: it is given `now`.
///
/// An operation that is refused rests alone: a Redis without memory for another value still answers reads.
struct RedisRefusals {
    private struct Rest {
        var breaker = Breaker(pause: .milliseconds(500), cap: .seconds(5))
        var message: String
        /// The key it was refused for. An ACL may allow other keys, so a read is tried with this one.
        var key: String
        var since: MonotonicInstant
    }

    private var rests: [CacheStatistics.Operation: Rest] = [:]

    /// May the operation be asked of Redis now? When its rest is over, one caller gets a yes: the trial.
    mutating func admits(_ operation: CacheStatistics.Operation, at now: MonotonicInstant) -> Bool {
        rests[operation]?.breaker.admits(at: now) ?? true
    }

    /// - Parameter error: how the operation ended; nil for an answer.
    /// - Returns: what is worth a line of the log: `opened` for a trouble that no other operation is in already, `closed` when the last one ends.
    mutating func note(
        _ operation: CacheStatistics.Operation, of key: String, _ error: RedisError?, at now: MonotonicInstant
    ) -> Breaker.Transition? {
        switch error {
        case nil:
            return end(operation)
        case .refused(let message):
            switch RedisTrouble.reaction(to: message) {
            case .dropKey: return end(operation)
            // The link is given up, and `RedisConnection` logs that.
            case .findPrimary, .connectAgain: rests[operation]?.breaker.abandoned(at: now)
            case .rest:
                let trouble = RedisTrouble.of(message)
                let isKnown = rests.values.contains { RedisTrouble.of($0.message) == trouble }
                var rest = rests[operation] ?? Rest(message: message, key: key, since: now)
                (rest.message, rest.key) = (message, key)
                _ = rest.breaker.failed(at: now)
                rests[operation] = rest
                return isKnown ? nil : .opened
            }
        case .down, .timeout, .connectionLost, .tooManyPending, .cancelled:
            rests[operation]?.breaker.abandoned(at: now)
        }
        return nil
    }

    private mutating func end(_ operation: CacheStatistics.Operation) -> Breaker.Transition? {
        rests.removeValue(forKey: operation) != nil && rests.isEmpty ? .closed : nil
    }

    /// The operations that rest, each with the key of its last refusal.
    var resting: [(operation: CacheStatistics.Operation, key: String)] { rests.map { ($0.key, $0.value.key) } }

    /// The refusal that lasts longest.
    var longest: (operation: CacheStatistics.Operation, message: String, since: MonotonicInstant)? {
        rests.min { $0.value.since < $1.value.since }.map { ($0.key, $0.value.message, $0.value.since) }
    }
}
