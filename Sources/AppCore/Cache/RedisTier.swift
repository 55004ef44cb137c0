import Logging
import Synchronization
import Vitals

/// The values all processes share, in Redis: asked while it answers, left alone while it does not.
///
/// Requests never pay for finding out whether it is back: the breaker's trial is made by `keep`, in the cache's own time.
final class RedisTier: Sendable {
    enum Reading {
        case hit([UInt8])
        case miss
        /// Redis was not asked, or did not answer.
        case fallback(CacheStatistics.Fallback)
    }

    private struct State {
        var breaker = Breaker()
        /// Keys whose value here may be older than one that was written: deleted before anything of them is believed.
        var suspect: Set<String> = []
        /// More were suspect than are kept. Nothing is believed until all that can be here has expired.
        var distrustUntil: MonotonicInstant?
    }

    static let suspectLimit = 10_000

    private let redis: RedisConnection
    private let lifetime: Duration
    private let time: any TimeSource
    private let logger: Logger
    private let meters: CacheMeters
    private let state = Mutex(State())

    init(redis: RedisConnection, lifetime: Duration, time: any TimeSource, logger: Logger, meters: CacheMeters) {
        self.redis = redis
        self.lifetime = lifetime
        self.time = time
        self.logger = logger
        self.meters = meters
    }

    var isBypassed: Bool { state.withLock { !$0.breaker.isClosed } }
    var suspects: Int { state.withLock { $0.suspect.count } }

    func read(_ key: String) async -> Reading {
        let now = time.now()
        let obstacle = state.withLock { state -> CacheStatistics.Fallback? in
            guard state.breaker.isClosed else { return .open }
            return state.suspect.contains(key) || state.distrustUntil.map({ $0 > now }) == true ? .suspect : nil
        }
        if let obstacle { return .fallback(obstacle) }
        switch await command(["GET", RedisArgument(key)], as: .get) {
        case .success(let reply): return reply.bytes.map { .hit($0) } ?? .miss
        case .failure(let error): return .fallback(error.kind == .timeout ? .slow : .down)
        }
    }

    /// Stores unless Redis has a newer version. When it cannot be told, the key is suspect.
    ///
    /// - Parameter isWrite: the value was just written, so what Redis has is older; else it was only loaded.
    func write(_ payload: [UInt8], version: Int, for key: String, lifetime: Duration, isWrite: Bool) async {
        let isAsked = !payload.isEmpty && state.withLock { $0.breaker.isClosed && !$0.suspect.contains(key) }
        if isAsked {
            let milliseconds = lifetime.nanoseconds / 1_000_000
            let arguments = ["EVAL", Self.storeUnlessNewer, "1", RedisArgument(key), "\(version)", RedisArgument(payload), "\(milliseconds)"]
            if case .success = await command(arguments, as: .set) { return }
        }
        if isWrite { suspect(key) }
    }

    /// A process that read before a write must not put the older value over the newer one after it.
    private static let storeUnlessNewer: RedisArgument = """
        local present = redis.call('GET', KEYS[1])
        if present then
            local readable, value = pcall(cjson.decode, present)
            if readable and type(value) == 'table' and type(value.version) == 'number' and value.version > tonumber(ARGV[1]) then return 0 end
        end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return 1
        """

    private func suspect(_ key: String) {
        let until = time.now() + lifetime * 1.2
        state.withLock { state in
            if state.suspect.count >= Self.suspectLimit, !state.suspect.contains(key) {
                state.suspect = []
                state.distrustUntil = until
            } else {
                state.suspect.insert(key)
            }
        }
    }

    private func command(_ arguments: [RedisArgument], as operation: CacheStatistics.Operation) async -> Result<RedisReply, RedisError> {
        let began = time.now()
        do throws(RedisError) {
            let reply = try await redis.command(arguments)
            meters.operations[operation]?.record(time.now() - began)
            note(nil)
            return .success(reply)
        } catch {
            meters.errors.add(for: operation)
            note(error)
            return .failure(error)
        }
    }

    /// Tells the breaker. What costs nothing (there is no connection) and what is not Redis's fault does not count.
    private func note(_ error: RedisError?) {
        let now = time.now()
        let transition = state.withLock { state -> Breaker.Transition? in
            switch error {
            case nil, .refused: state.breaker.isClosed ? nil : state.breaker.succeeded()
            case .timeout, .connectionLost: state.breaker.failed(at: now)
            case .down, .tooManyPending, .cancelled: nil
            }
        }
        log(transition, error)
    }

    private func log(_ transition: Breaker.Transition?, _ error: RedisError?) {
        switch transition {
        case .opened: logger.warning("cache goes on without redis", metadata: ["reason": "\(error.map { "\($0)" } ?? "")"])
        case .closed: logger.info("cache uses redis again")
        case nil: break
        }
    }

    /// One look at what is to be done: a trial when the breaker allows it, the suspects when Redis answers.
    func keep() async {
        if state.withLock({ !$0.breaker.isClosed }) {
            guard state.withLock({ $0.breaker.admits(at: time.now()) }) else { return }
            do throws(RedisError) {
                _ = try await redis.ping()
                log(state.withLock { $0.breaker.succeeded() }, nil)
            } catch {
                state.withLock { state in
                    if case .down = error { state.breaker.abandoned(at: time.now()) } else { _ = state.breaker.failed(at: time.now()) }
                }
                return
            }
        }
        await forgetSuspects()
    }

    private func forgetSuspects() async {
        let keys = state.withLock { Array($0.suspect.prefix(500)) }
        guard !keys.isEmpty, case .up = redis.status else { return }
        guard case .success = await command(["DEL"] + keys.map { RedisArgument($0) }, as: .delete) else { return }
        state.withLock { $0.suspect.subtract(keys) }
    }
}
