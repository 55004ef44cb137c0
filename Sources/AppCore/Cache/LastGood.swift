import Synchronization
public import Vitals

/// The last good answers to reads that no cache holds, for the time when the database cannot be asked.
///
/// Never a substitute for asking: whoever takes one out says how old it is. After a write, or a read that finds the subject gone, no answer about
/// it is given that was kept before, or was still being read. A `MemoryTier` bounds the bytes. The version of an answer is the number of the
/// read it comes from, so that a slow read does not replace what a later one found.
public final class LastGood: Sendable {
    /// One read of the database, from its beginning.
    public struct Reading: Sendable {
        let number: Int
        let subject: String
        let began: MonotonicInstant
    }

    public struct Kept: Sendable, Hashable {
        public var payload: [UInt8]
        /// Since the read it comes from began.
        public var age: Duration
        /// The version of the row it is about, where it has one.
        public var version: Int?
        /// A read failed less than `rest` ago: answer with this, do not try again.
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
        /// The reads under way whose answers may be kept, with their subjects.
        var underWay: [Int: String] = [:]
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

    /// Before the database is asked. `end` must follow.
    ///
    /// - Parameter subject: what the answer is about: a workspace's id. A write about it makes the answer unfit.
    public func begin(about subject: String) -> Reading {
        let now = time.now()
        return state.withLock { state in
            state.number += 1
            state.underWay[state.number] = subject
            return Reading(number: state.number, subject: subject, began: now)
        }
    }

    /// The read is over. From here on `keep` takes nothing of it.
    public func end(_ reading: Reading) {
        state.withLock { $0.underWay[reading.number] = nil }
    }

    /// - Parameter version: of the row the answer shows, where it has one.
    public func keep(_ payload: [UInt8], for key: String, version: Int? = nil, of reading: Reading) {
        let answer = Answer(version: reading.number, subject: reading.subject, rowVersion: version, payload: payload)
        state.withLock { state in
            guard state.underWay[reading.number] != nil else { return }
            guard reading.number >= max(state.floor, state.tier.floor(for: reading.subject, at: reading.began)) else { return }
            _ = state.tier.keep(
                answer, for: key, size: payload.count + reading.subject.utf8.count, loadedAt: reading.began, lifetime: stale, now: reading.began)
            let mark = Answer(version: reading.number, subject: reading.subject, payload: [])
            _ = state.tier.keep(
                mark, for: Self.mark(of: reading.subject), size: 0, loadedAt: reading.began, lifetime: stale, now: reading.began)
            _ = state.tier.look(for: Self.mark(of: reading.subject), at: reading.began)
        }
    }

    /// The key of an entry that says that something is kept about the subject. It is used whenever one of the answers is, so it is not pushed out
    /// before them.
    private static func mark(of subject: String) -> String { "about \(subject)" }

    /// Nil when there is none, or none that may still be answered.
    public func recall(_ key: String) -> Kept? {
        let now = time.now()
        return state.withLock { state in
            guard case .fresh(let entry, _) = state.tier.look(for: key, at: now), let answer = entry.value as? Answer,
                answer.version >= max(state.floor, state.tier.floor(for: answer.subject, at: now))
            else { return nil }
            _ = state.tier.look(for: Self.mark(of: answer.subject), at: now)
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

    /// `subject` was found to be gone, or was never there: nobody gets what is kept about it, nor what reads that are still under way may bring.
    ///
    /// Anybody can ask for what never existed. Therefore only a subject of which something is kept gets a floor, which lasts.
    public func forget(about subject: String) {
        let now = time.now()
        state.withLock { state in
            for (number, other) in state.underWay where other == subject { state.underWay[number] = nil }
            if state.tier.remove(Self.mark(of: subject)) { raiseFloor(for: subject, &state, now) }
        }
    }

    /// Something about `subject` was written, or may have been: nobody gets what was read before, or is being read now.
    public func wrote(about subject: String) {
        let now = time.now()
        state.withLock { raiseFloor(for: subject, &$0, now) }
    }

    private func raiseFloor(for subject: String, _ state: inout State, _ now: MonotonicInstant) {
        state.number += 1
        // As long as any answer kept until now can live.
        state.tier.raiseFloor(for: subject, to: state.number, until: now + stale, now: now)
        guard state.tier.floorsLostUntil != nil else { return }
        // More subjects were written than are remembered: nothing kept so far is believed.
        state.tier = MemoryTier(limit: limit)
        state.floor = state.number
    }
}
