import Vitals

/// Which keys were changed, or may have been, while loads of them were under way: what such a load brings is not kept. Pure: it is given `now`.
///
/// A write without an answer may still take effect. Until that is over the key is in doubt: what is loaded is answered, and kept for `moment`
/// only.
struct CacheBarriers {
    private struct Barrier {
        /// A load that began before this instant is answered, and what it brings is not kept.
        var since: MonotonicInstant
        var doubtUntil: MonotonicInstant?
        /// From here on no load that began before `since` is under way, and nothing is in doubt.
        var until: MonotonicInstant
    }

    private var barriers: [String: Barrier] = [:]
    /// For all keys, once there were more barriers than `limit`.
    private var everywhere: Barrier?

    static let limit = 10_000
    /// How long a write without an answer may still take effect: a cancel, a lock and a slow commit included.
    static let doubt = Duration.seconds(30)
    /// How long a value is fresh that was loaded in doubt.
    static let moment = Duration.seconds(1)

    /// - Parameter loads: for how long a load that is under way now may go on.
    mutating func raise(for key: String, inDoubt: Bool, loads: Duration, now: MonotonicInstant) {
        var barrier = Barrier(since: now, doubtUntil: inDoubt ? now + Self.doubt : nil, until: now + max(loads, inDoubt ? Self.doubt : .zero))
        if barriers.count >= Self.limit, barriers[key] == nil {
            barriers = barriers.filter { $0.value.until > now }
            guard barriers.count < Self.limit else {
                everywhere = Barrier(since: now, doubtUntil: now + Self.doubt, until: now + max(loads, Self.doubt))
                return
            }
        }
        if let present = barriers[key] {
            barrier.doubtUntil = [present.doubtUntil, barrier.doubtUntil].compactMap { $0 }.max()
            barrier.until = max(present.until, barrier.until)
        }
        barriers[key] = barrier
    }

    /// Whether a load that began at `loadedAt` may have missed what happened since.
    func overtook(_ key: String, loadedAt: MonotonicInstant) -> Bool {
        [barriers[key], everywhere].contains { $0.map { loadedAt <= $0.since } ?? false }
    }

    func isInDoubt(_ key: String, at now: MonotonicInstant) -> Bool {
        [barriers[key], everywhere].contains { $0?.doubtUntil.map { $0 > now } ?? false }
    }
}
