import Logging
import Synchronization
import Vitals

/// The values all processes share, in Redis: asked while it answers, left alone while it does not or refuses.
///
/// Requests never pay for finding out whether it answers again: the breaker's trial is made by `tend`, in the cache's own time.
///
/// A key is suspect while its value here may be older than one that was written: it is not believed, and deleted as soon as that is possible.
final class RedisTier: Sendable {
    enum Reading {
        /// - remaining: what is left of its lifetime.
        case hit([UInt8], remaining: Duration)
        case miss
        /// Redis was not asked, did not answer, or refused.
        case fallback(CacheStatistics.Fallback)
    }

    private struct State {
        var breaker = Breaker()
        var refusals = RedisRefusals()
        /// The suspect keys, with a number that is new each time: a key that becomes suspect again while it is deleted stays suspect.
        var suspect: [String: Int] = [:]
        var suspicions = 0
        /// A key of the cache was found with another application's data, and that was logged.
        var foundStrangers = false
        /// More keys became suspect than `suspectLimit`. Nothing is believed until all that can be here has expired.
        var allSuspectUntil: MonotonicInstant?
    }

    static let suspectLimit = 10_000

    private let redis: RedisConnection
    private let configuration: CacheConfiguration
    private let time: any TimeSource
    private let logger: Logger
    private let meters: CacheMeters
    private let state = Mutex(State())

    init(redis: RedisConnection, configuration: CacheConfiguration, time: any TimeSource, logger: Logger, meters: CacheMeters) {
        self.redis = redis
        self.configuration = configuration
        self.time = time
        self.logger = logger
        self.meters = meters
    }

    var isBypassed: Bool { state.withLock { !$0.breaker.isClosed } }
    var suspects: Int { state.withLock { $0.suspect.count } }

    /// How long a key is in doubt in Redis after a write found a newer version there: longer than a load takes that may have seen the older row.
    var conflict: Duration { max(.seconds(5), configuration.load * 2) }

    /// Why the cache cannot use Redis, or not for all it needs; nil while it can, as far as is known.
    var obstacle: RedisObstacle? {
        if case .down(let reason, let since) = redis.status {
            return RedisObstacle(kind: RedisError.down(reason: reason, since: .zero).kind, reason: reason, since: since)
        }
        return state.withLock { $0.refusals.longest }.map { refusal in
            RedisObstacle(
                kind: RedisError.refused(refusal.message).kind,
                reason: "the cache's \(refusal.operation.rawValue) is refused: \(RedisTrouble.explained(refusal.message))", since: refusal.since)
        }
    }

    // MARK: Values

    func read(_ key: String) async -> Reading {
        let now = time.now()
        let unasked = state.withLock { state -> CacheStatistics.Fallback? in
            guard state.breaker.isClosed else { return .open }
            return state.suspect[key] != nil || state.allSuspectUntil.map { $0 > now } == true ? .suspect : nil
        }
        if let unasked { return .fallback(unasked) }
        switch await get(key) {
        case nil: return .fallback(.open)
        case .success(.array(let reply))?:
            guard let bytes = reply.first?.bytes, case .integer(let milliseconds)? = reply.last, milliseconds > 0 else { return .miss }
            return .hit(bytes, remaining: .milliseconds(milliseconds))
        case .success?: return .miss
        case .failure(.refused(let message))?:
            guard RedisTrouble.reaction(to: message) == .dropKey else { return .fallback(.open) }
            foundStranger(under: key, because: message)
            return .fallback(.suspect)
        case .failure(let error)?: return .fallback(CacheStatistics.Fallback(error))
        }
    }

    /// Stores unless Redis has a newer version. When a write cannot be stored, the key is suspect.
    ///
    /// - Parameters:
    ///   - remaining: what is left of the value's lifetime.
    ///   - isWrite: the value was just written, so what Redis has is older; else it was only loaded.
    /// - Returns: whether Redis is known to have nothing older now: it has stored the value, or has a newer one, or the key is in doubt there.
    @discardableResult
    func write(_ payload: [UInt8], version: Int, for key: String, remaining: Duration, isWrite: Bool) async -> Bool {
        let milliseconds = remaining.nanoseconds / 1_000_000
        if !payload.isEmpty, milliseconds > 0, state.withLock({ $0.suspect[key] == nil }) {
            if case .success? = await set(key, RedisArgument(payload), version: version, milliseconds: milliseconds, isWrite: isWrite) { return true }
        }
        if isWrite { suspect(key) }
        return false
    }

    private func get(_ key: String) async -> Result<RedisReply, RedisError>? {
        await command(["EVAL", RedisScripts.read, "1", RedisArgument(key)], as: .get, of: key)
    }

    private func set(
        _ key: String, _ payload: RedisArgument, version: Int, milliseconds: Int64, isWrite: Bool
    ) async -> Result<RedisReply, RedisError>? {
        let arguments: [RedisArgument] = [
            "EVAL", RedisScripts.store, "1", RedisArgument(key), "\(version)", payload, "\(milliseconds)", isWrite ? "write" : "load",
            RedisScripts.doubt(about: key), "\(conflict.nanoseconds / 1_000_000)",
        ]
        return await command(arguments, as: .set, of: key)
    }

    /// The key is in doubt: for `duration` nothing is to be read or stored here.
    func doubt(_ key: String, for duration: Duration) async {
        let arguments: [RedisArgument] = ["SET", RedisArgument(key), RedisScripts.doubt(about: key), "PX", "\(duration.nanoseconds / 1_000_000)"]
        if case .success? = await command(arguments, as: .set, of: key) {
            // It has taken the place of what was suspect.
            return state.withLock { $0.suspect[key] = nil }
        }
        suspect(key)
    }

    /// There is no such row any more.
    func forget(_ key: String, isKnown: Bool) async {
        if case .success? = await command(["DEL", RedisArgument(key)], as: .delete, of: key) { return }
        suspectGone(key, isKnown: isKnown)
    }

    /// The same, without waiting for Redis: the key is suspect, and will be deleted with the others.
    ///
    /// - Parameter isKnown: whether this process has had the row. A row this process never had becomes suspect only while less than half of
    ///   `suspectLimit` is used: anybody can ask for ids that do not exist.
    func suspectGone(_ key: String, isKnown: Bool) {
        if isKnown || suspects < Self.suspectLimit / 2 { suspect(key) }
    }

    /// What is under the key is another application's. It is suspect, and so it will be deleted.
    private func foundStranger(under key: String, because message: String) {
        suspect(key)
        let isNews = state.withLock { state in
            defer { state.foundStrangers = true }
            return !state.foundStrangers
        }
        guard isNews else { return }
        logger.warning(
            "another application uses a key of the cache; the key will be deleted",
            metadata: ["key": "\(key)", "reason": "\(RedisTrouble.explained(message))"])
    }

    private func suspect(_ key: String) {
        let until = time.now() + configuration.copyLifetime
        state.withLock { state in
            if state.suspect.count >= Self.suspectLimit, state.suspect[key] == nil {
                state.suspect = [:]
                state.allSuspectUntil = until
            } else {
                state.suspicions += 1
                state.suspect[key] = state.suspicions
            }
        }
    }

    // MARK: Asking

    /// Nil when Redis is not to be asked now.
    private func command(
        _ arguments: [RedisArgument], as operation: CacheStatistics.Operation, of key: String
    ) async -> Result<RedisReply, RedisError>? {
        let began = time.now()
        guard state.withLock({ $0.breaker.isClosed && $0.refusals.admits(operation, at: began) }) else { return nil }
        do throws(RedisError) {
            let reply = try await redis.command(arguments)
            meters.operations[operation]?.record(time.now() - began)
            note(operation, of: key, nil)
            return .success(reply)
        } catch {
            meters.errors.add(for: operation)
            note(operation, of: key, error)
            return .failure(error)
        }
    }

    /// Records for the breaker whether Redis answers, and for the refusals what it answers. `down`, `tooManyPending` and `cancelled` say nothing
    /// of whether it would answer.
    private func note(_ operation: CacheStatistics.Operation, of key: String, _ error: RedisError?) {
        let now = time.now()
        let (breaker, refusal) = state.withLock { state -> (Breaker.Transition?, Breaker.Transition?) in
            let breaker: Breaker.Transition? =
                switch error {
                case nil, .refused: state.breaker.isClosed ? nil : state.breaker.succeeded()
                case .timeout, .connectionLost: state.breaker.failed(at: now)
                case .down, .tooManyPending, .cancelled: nil
                }
            return (breaker, state.refusals.note(operation, of: key, error, at: now))
        }
        log(breaker, error)
        switch refusal {
        case .opened:
            guard case .refused(let message) = error else { break }
            let reason = RedisTrouble.explained(message).oneLine(limit: 300)
            logger.warning("redis refuses a command of the cache", metadata: ["operation": "\(operation.rawValue)", "reason": "\(reason)"])
        case .closed: logger.info("redis accepts the commands of the cache again", metadata: ["operation": "\(operation.rawValue)"])
        case nil: break
        }
    }

    private func log(_ transition: Breaker.Transition?, _ error: RedisError?) {
        switch transition {
        case .opened: logger.warning("cache goes on without redis", metadata: ["reason": "\(error.map { "\($0)" } ?? "")"])
        case .closed: logger.info("cache uses redis again")
        case nil: break
        }
    }

    /// One round of upkeep: a trial of Redis if the breaker allows one, a trial of each refused operation, then DEL of suspect keys.
    func tend() async {
        if state.withLock({ !$0.breaker.isClosed }) {
            guard state.withLock({ $0.breaker.admits(at: time.now()) }) else { return }
            do throws(RedisError) {
                _ = try await redis.ping()
                log(state.withLock { $0.breaker.succeeded() }, nil)
            } catch {
                switch error {
                // It answers. Whether it does what is asked of it shows when it is asked.
                case .refused: log(state.withLock { $0.breaker.succeeded() }, nil)
                case .down, .tooManyPending, .cancelled: state.withLock { $0.breaker.abandoned(at: time.now()) }
                case .timeout, .connectionLost: state.withLock { _ = $0.breaker.failed(at: time.now()) }
                }
                return
            }
        }
        await tryRefused()
        await forgetSuspects()
    }

    /// Refused operations are tried here, too: without a caller nobody would know that Redis accepts them again.
    private func tryRefused() async {
        for (operation, key) in state.withLock({ $0.refusals.resting }) {
            switch operation {
            case .get: _ = await get(key)
            // On another key, so that the stored value is not touched.
            case .set: _ = await set(key + ":trial", RedisScripts.doubt(about: key), version: 0, milliseconds: 1_000, isWrite: false)
            // `forgetSuspects` is its trial.
            case .delete: break
            }
        }
    }

    private func forgetSuspects() async {
        let found = state.withLock { Array($0.suspect.prefix(500)) }
        guard let first = found.first?.key, case .up = redis.status else { return }
        let keys = found.map { RedisArgument($0.key) } + found.map { RedisScripts.doubt(about: $0.key) }
        guard case .success? = await command(["EVAL", RedisScripts.delete, "\(found.count)"] + keys, as: .delete, of: first) else { return }
        state.withLock { state in
            for (key, suspicion) in found where state.suspect[key] == suspicion { state.suspect[key] = nil }
        }
    }
}
