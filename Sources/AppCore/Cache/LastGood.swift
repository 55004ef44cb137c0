import Synchronization
public import Vitals

/// The last good answers to reads that no cache holds, for the time when the database cannot be asked.
///
/// Never a substitute for asking: whoever takes one out says how old it is. What is told to `wrote` makes all kept answers about the
/// same subject unfit, those still being read included. A `MemoryTier` bounds the bytes; the version of an answer is the number of
/// the read it comes from, so that a slow read does not replace what a later one found.
public final class LastGood: Sendable {
    /// One read of the database, from its beginning.
    public struct Reading: Sendable {
        let number: Int
        let began: MonotonicInstant
    }

    public struct Kept: Sendable, Hashable {
        public var payload: [UInt8]
        /// Since the read it comes from began.
        public var age: Duration
        /// The version of the row it is about, where it has one.
        public var version: Int?
        /// A read failed a moment ago: to be answered as it is, without another attempt.
        public var isResting: Bool
    }

    private struct Answer: CacheableValue {
        /// The number of its read.
        var version: Int
        var subject: String
        var rowVersion: Int?
        var payload: [UInt8]
    }

    private struct State {
        var tier: MemoryTier
        var number = 0
        /// Reads begun before this one are not believed, whatever they are about.
        var floor = 0
    }

    private let limit: Int
    private let stale: Duration
    private let time: any TimeSource
    private let state: Mutex<State>

    /// How long a failed read is not tried again for the same answer: a database in trouble is not asked by everybody all the time.
    static let rest = Duration.seconds(1)

    /// - Parameters:
    ///   - bytes: what the answers may take, their keys included.
    ///   - stale: how old one may be.
    public init(bytes: Int = 8 << 20, stale: Duration = CacheConfiguration().stale, time: any TimeSource = SystemTime()) {
        limit = bytes
        self.stale = stale
        self.time = time
        state = Mutex(State(tier: MemoryTier(limit: bytes)))
    }

    /// Before the database is asked.
    public func begin() -> Reading {
        let now = time.now()
        return state.withLock { state in
            state.number += 1
            return Reading(number: state.number, began: now)
        }
    }

    /// - Parameters:
    ///   - subject: what a write is about that makes the answer unfit: a workspace's id.
    ///   - version: of the row the answer shows, where it has one.
    public func keep(_ payload: [UInt8], for key: String, about subject: String, version: Int? = nil, of reading: Reading) {
        let answer = Answer(version: reading.number, subject: subject, rowVersion: version, payload: payload)
        state.withLock { state in
            guard reading.number >= max(state.floor, state.tier.floor(for: subject, at: reading.began)) else { return }
            _ = state.tier.keep(
                answer, for: key, size: payload.count + subject.utf8.count, loadedAt: reading.began, lifetime: stale, now: reading.began)
        }
    }

    /// Nil when there is none, or none that may still be told.
    public func recall(_ key: String) -> Kept? {
        let now = time.now()
        return state.withLock { state in
            guard case .fresh(let entry, _) = state.tier.look(for: key, at: now), let answer = entry.value as? Answer,
                answer.version >= max(state.floor, state.tier.floor(for: answer.subject, at: now))
            else { return nil }
            return Kept(
                payload: answer.payload, age: now - entry.loadedAt, version: answer.rowVersion,
                isResting: entry.retryAt.map { $0 > now } ?? false)
        }
    }

    /// A read for `key` failed.
    public func failed(_ key: String) {
        let now = time.now()
        state.withLock { $0.tier.loadFailed(for: key, retry: now + Self.rest) }
    }

    /// A read found that there is no such thing any more.
    public func forget(_ key: String) {
        state.withLock { _ = $0.tier.remove(key) }
    }

    /// Something about `subject` was written, or may have been: what was read before, or is being read now, is told to nobody.
    public func wrote(about subject: String) {
        let now = time.now()
        state.withLock { state in
            state.number += 1
            // As long as an answer may live that was kept until now.
            state.tier.raiseFloor(for: subject, to: state.number, until: now + stale, now: now)
            guard state.tier.floorsLostUntil != nil else { return }
            // More subjects were written than are remembered: nothing kept so far is believed.
            state.tier = MemoryTier(limit: limit)
            state.floor = state.number
        }
    }
}
