import Vitals

/// The values this process holds, by key, least recently used first to go. Pure: it is given `now`.
///
/// Never puts an older version over a newer one, unless that has expired and the primary says so. Never takes one that is below the floor of its key
/// (`raiseFloor`): the version that was written here, or one that was loaded and did not reach Redis. Versions are compared within one history of the
/// database only. When the database is asked after a version was seen here, and answers with a lower one, it has gone back in time, by a restore
/// or by a failover that lost commits. What it has lost is then forgotten here as well, be it fresh or not.
struct MemoryTier {
    struct Entry {
        var value: any CacheableValue
        /// When the load it comes from began: its age counts from here, whichever way it came.
        var loadedAt: MonotonicInstant
        /// When it was put here. The primary, asked later, answers no older version unless the database has gone back.
        var seenAt: MonotonicInstant
        var expiresAt: MonotonicInstant
        /// From here on the next reader begins a reload, and does not wait for it.
        var refreshAt: MonotonicInstant
        /// After a failed load: no other is tried before this instant.
        var retryAt: MonotonicInstant?
    }

    enum Lookup {
        case fresh(Entry, refresh: Bool)
        case expired(Entry)
        case absent
    }

    private struct Slot {
        var key: String
        var entry: Entry
        var cost: Int
        var older: Int?
        var newer: Int?
    }

    /// A version below which nothing is accepted, until every copy of an older one must have expired.
    private struct Floor {
        var version: Int
        var seenAt: MonotonicInstant
        var until: MonotonicInstant
    }

    private let limit: Int
    private var slots: [Int: Slot] = [:]
    private var index: [String: Int] = [:]
    private var nextSlot = 0
    private var newest: Int?
    private var oldest: Int?
    private var floors: [String: Floor] = [:]
    private(set) var bytes = 0
    private(set) var evictions = 0
    /// More floors were needed than `floorLimit`: until this instant Redis is not believed.
    private(set) var floorsLostUntil: MonotonicInstant?

    static let floorLimit = 65_536
    /// What an entry costs beside its key and JSON: the decoded value, the slot and two table entries.
    static let overhead = 400

    init(limit: Int) {
        self.limit = limit
    }

    var count: Int { slots.count }

    mutating func look(for key: String, at now: MonotonicInstant) -> Lookup {
        guard let number = index[key], let slot = slots[number] else { return .absent }
        unlink(number)
        linkAsNewest(number)
        if slot.entry.expiresAt <= now { return .expired(slot.entry) }
        return .fresh(slot.entry, refresh: slot.entry.refreshAt <= now)
    }

    /// - Parameters:
    ///   - size: bytes of its JSON.
    ///   - loadedAt: when the load it comes from began; its lifetime counts from here.
    ///   - asked: when the primary was asked. If its answer is older than a version that was seen here before that, the database has gone back. Nil
    ///     for a copy, and for a standby's answer.
    /// - Returns: false when a newer version is known; the value is then not kept. True also for a value too large to be kept.
    mutating func keep(
        _ value: any CacheableValue, for key: String, size: Int, loadedAt: MonotonicInstant, lifetime: Duration, asked: MonotonicInstant? = nil,
        now: MonotonicInstant
    ) -> Bool {
        guard !isOutdated(value.version, for: key, asked: asked, now: now) else { return false }
        remove(key)
        let cost = size + key.utf8.count + Self.overhead
        guard cost <= limit else { return true }
        let entry = Entry(
            value: value, loadedAt: loadedAt, seenAt: now, expiresAt: loadedAt + lifetime, refreshAt: loadedAt + lifetime * 0.8)
        nextSlot += 1
        slots[nextSlot] = Slot(key: key, entry: entry, cost: cost)
        index[key] = nextSlot
        bytes += cost
        linkAsNewest(nextSlot)
        while bytes > limit, let victim = oldest, let slot = slots[victim] {
            remove(slot.key)
            evictions += 1
        }
        return true
    }

    /// Whether a newer version is known. If the database has gone back, that version is forgotten.
    private mutating func isOutdated(_ version: Int, for key: String, asked: MonotonicInstant?, now: MonotonicInstant) -> Bool {
        func hasGoneBack(since seenAt: MonotonicInstant) -> Bool { asked.map { $0 > seenAt } ?? false }
        if let floor = floors[key], floor.until > now, floor.version > version {
            guard hasGoneBack(since: floor.seenAt) else { return true }
            floors[key] = nil
        }
        // One that has expired is still newer than a copy, or than what a standby answers that lags.
        if let present = entry(for: key), present.value.version > version, present.expiresAt > now || asked == nil {
            guard hasGoneBack(since: present.seenAt) else { return true }
            remove(key)
        }
        return false
    }

    /// What is known of `key` belongs to another row: its versions are not compared with those to come.
    mutating func forgetHistory(of key: String) {
        remove(key)
        floors[key] = nil
    }

    /// What is kept for `key`, expired or not, without counting as a use of it.
    func entry(for key: String) -> Entry? { index[key].flatMap { slots[$0]?.entry } }

    /// A load for `key` failed: its expired value is answered until `retry` without another attempt.
    mutating func loadFailed(for key: String, retry: MonotonicInstant) {
        guard let number = index[key], var slot = slots[number] else { return }
        slot.entry.retryAt = retry
        slot.entry.refreshAt = max(slot.entry.refreshAt, retry)
        slots[number] = slot
    }

    // MARK: Floors

    func floor(for key: String, at now: MonotonicInstant) -> Int {
        guard let floor = floors[key], floor.until > now else { return .min }
        return floor.version
    }

    /// The newest version that a reader may have got, expired or not; nil when none is known.
    func newestVersion(for key: String, at now: MonotonicInstant) -> Int? {
        let kept = entry(for: key)?.value.version ?? .min
        let newest = max(kept, floor(for: key, at: now))
        return newest > .min ? newest : nil
    }

    /// - Parameter until: when the last copy of an older version has expired. A floor that lasts longer keeps its own end.
    mutating func raiseFloor(for key: String, to version: Int, until: MonotonicInstant, now: MonotonicInstant) {
        if floors.count >= Self.floorLimit, floors[key] == nil {
            floors = floors.filter { $0.value.until > now }
            if floors.count >= Self.floorLimit {
                floors = [:]
                floorsLostUntil = until
            }
        }
        guard let floor = floors[key], floor.until > now else {
            floors[key] = Floor(version: version, seenAt: now, until: until)
            return
        }
        floors[key]?.until = max(floor.until, until)
        // It never falls while it lasts: an older write may be reported later.
        guard version >= floor.version else { return }
        floors[key]?.version = version
        floors[key]?.seenAt = now
    }

    // MARK: The list

    /// - Returns: whether `key` was held.
    @discardableResult
    mutating func remove(_ key: String) -> Bool {
        guard let number = index.removeValue(forKey: key), let slot = slots[number] else { return false }
        unlink(number)
        slots[number] = nil
        bytes -= slot.cost
        return true
    }

    private mutating func unlink(_ number: Int) {
        guard let slot = slots[number] else { return }
        if let older = slot.older { slots[older]?.newer = slot.newer } else { oldest = slot.newer }
        if let newer = slot.newer { slots[newer]?.older = slot.older } else { newest = slot.older }
        slots[number]?.older = nil
        slots[number]?.newer = nil
    }

    private mutating func linkAsNewest(_ number: Int) {
        slots[number]?.older = newest
        slots[number]?.newer = nil
        if let newest { slots[newest]?.newer = number }
        newest = number
        if oldest == nil { oldest = number }
    }
}
