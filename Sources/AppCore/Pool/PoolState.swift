import DequeModule
import Vitals

/// Which connection is whose, who waits, and what must happen next: every decision of the pool, as a value.
///
/// Nothing here acts. `Pool` holds it under a lock, asks, and carries out the answer outside the lock.
/// While somebody waits, nothing is idle: a free connection goes to the oldest waiter before anyone else sees it.
struct PoolState {
    typealias Slot = Int
    typealias WaiterID = Int

    struct LeaseRecord {
        var purpose: Purpose
        var detail: String?
        var site: CallSite
        var since: MonotonicInstant
        var reportedAsLeak = false
    }

    struct Waiter {
        var purpose: Purpose
        var detail: String?
        var site: CallSite
        var since: MonotonicInstant
        var deadline: Deadline
    }

    enum Phase {
        /// An attempt to connect is under way. Leads to idle, leased or gone.
        case connecting(since: MonotonicInstant)
        case idle(since: MonotonicInstant)
        case leased(LeaseRecord)
        /// A cancelled statement or an open transaction is being cleared. Leads to idle, leased or gone.
        case recovering(since: MonotonicInstant)
    }

    struct Connection {
        var phase: Phase
        /// When its lifetime is over; nil before it stands, or without a limit.
        var retireAt: MonotonicInstant?
        /// Of another than the present generation: to be closed as soon as it comes free.
        var generation = 0
    }

    enum Availability {
        case up
        /// The last attempt to connect failed and no connection stands.
        case down(cause: String, since: MonotonicInstant)
    }

    enum Checkout {
        case lease(Slot)
        case wait
        case refuse(PoolError)
    }

    enum GiveBack: Equatable {
        case park
        case hand(to: WaiterID)
        case recover
        case close
    }

    let configuration: PoolConfiguration
    private(set) var connections: [Connection?]
    /// Newest last: a busy pool then lives on a few warm connections and lets the rest reach their idle timeout.
    private var idle: [Slot] = []
    private var waiters: [WaiterID: Waiter] = [:]
    /// In order of arrival. Holds waiters that have left, too; they are skipped, so that leaving costs nothing.
    private var queue = Deque<WaiterID>()
    private var connectBackoff = Backoff(base: .milliseconds(50), cap: .seconds(2))
    private var connectFailures = 0
    private var nextConnectAt: MonotonicInstant?
    private(set) var lastConnectFailure: String?
    private(set) var availability = Availability.up
    private var lastRetirement: MonotonicInstant?
    private var isShuttingDown = false
    private(set) var generation = PoolGeneration()
    private(set) var tallies: PoolTallies

    init(configuration: PoolConfiguration, now: MonotonicInstant) {
        self.configuration = configuration
        connections = Array(repeating: nil, count: configuration.max)
        tallies = PoolTallies(now: now)
    }

    // MARK: A caller comes

    /// A connection at once, a refusal, or leave to `enqueue`.
    mutating func checkout(_ purpose: Purpose, detail: String?, site: CallSite, deadline: Deadline, now: MonotonicInstant) -> Checkout {
        if isShuttingDown { return .refuse(.shuttingDown) }
        while let slot = idle.popLast() {
            lease(slot, LeaseRecord(purpose: purpose, detail: detail, site: site, since: now), now: now)
            return .lease(slot)
        }
        if case .down(let cause, let since) = availability {
            return .refuse(.databaseUnavailable(cause: cause, since: now - since, nextAttemptIn: untilNextConnect(now)))
        }
        if deadline.hasPassed(at: now) || waiters.count >= configuration.waiters {
            return .refuse(saturated(waited: .zero, now: now))
        }
        return .wait
    }

    mutating func enqueue(_ id: WaiterID, _ waiter: Waiter, now: MonotonicInstant) {
        advance(to: now)
        waiters[id] = waiter
        queue.append(id)
        tallies.peakWaiting = max(tallies.peakWaiting, waiters.count)
    }

    /// Takes a waiter out of the queue; nil when it has been served or refused already.
    mutating func leave(_ id: WaiterID, now: MonotonicInstant) -> Waiter? {
        guard let waiter = waiters[id] else { return nil }
        advance(to: now)
        waiters[id] = nil
        if queue.count > 2 * waiters.count + 64 { queue.removeAll { waiters[$0] == nil } }
        return waiter
    }

    /// Takes out all whose deadline has passed. They are to be told `saturated`.
    mutating func expire(now: MonotonicInstant) -> [(id: WaiterID, waiter: Waiter)] {
        let expired = waiters.filter { $0.value.deadline.hasPassed(at: now) }.sorted { $0.key < $1.key }
        for (id, _) in expired { _ = leave(id, now: now) }
        return expired.map { ($0.key, $0.value) }
    }

    var earliestDeadline: Deadline? { waiters.values.lazy.map(\.deadline).min() }

    func saturated(waited: Duration, now: MonotonicInstant) -> PoolError {
        .saturated(picture(now: now), waited: waited, retryAfter: estimatedWait(now: now))
    }

    // MARK: A connection comes free

    mutating func giveBack(_ slot: Slot, reusable: Bool, lost: Bool, now: MonotonicInstant) -> GiveBack {
        guard case .leased(let record) = connections[slot]?.phase else { preconditionFailure("connection \(slot) was given back twice") }
        tallies.averageHeld.record(now - record.since)
        if lost || isShuttingDown || isLeftBehind(slot) { return vacate(slot, now: now) }
        if !reusable {
            advance(to: now)
            connections[slot]?.phase = .recovering(since: now)
            return .recover
        }
        if mayRetire(slot, now: now) { return vacate(slot, now: now) }
        return offer(slot, now: now)
    }

    /// The clearing ended: the connection is as good as new, or is to be closed.
    mutating func recovered(_ slot: Slot, usable: Bool, now: MonotonicInstant) -> GiveBack {
        guard usable, !isShuttingDown, !isLeftBehind(slot) else { return vacate(slot, now: now) }
        return offer(slot, now: now)
    }

    mutating func connected(_ slot: Slot, now: MonotonicInstant) -> GiveBack {
        availability = .up
        connectFailures = 0
        nextConnectAt = nil
        lastConnectFailure = nil
        tallies.opened += 1
        if isShuttingDown { return vacate(slot, now: now) }
        if configuration.lifetime > .zero {
            let shortened = Double.random(in: 0.9...1) * configuration.lifetime.seconds
            connections[slot]?.retireAt = now + .seconds(shortened)
        }
        return offer(slot, now: now)
    }

    /// An attempt to connect failed. Answers the waiters to refuse: all of them when no connection stands, none otherwise.
    mutating func connectFailed(_ slot: Slot, cause: String, now: MonotonicInstant, using generator: inout some RandomNumberGenerator) -> [WaiterID] {
        advance(to: now)
        connections[slot] = nil
        connectFailures += 1
        lastConnectFailure = cause
        nextConnectAt = now + connectBackoff.delay(attempt: connectFailures, using: &generator)
        guard connections.allSatisfy({ $0 == nil || $0?.isConnecting == true }) else { return [] }
        switch availability {
        case .up: availability = .down(cause: cause, since: now)
        case .down(_, let since): availability = .down(cause: cause, since: since)
        }
        let refused = waitersInOrderIDs
        queue.removeAll()
        waiters.removeAll()
        return refused
    }

    func unavailable(now: MonotonicInstant) -> PoolError {
        guard case .down(let cause, let since) = availability else { return saturated(waited: .zero, now: now) }
        return .databaseUnavailable(cause: cause, since: now - since, nextAttemptIn: untilNextConnect(now))
    }

    /// The server closed a connection that nobody used. False when it is leased after all: its holder will notice.
    mutating func lostWhileIdle(_ slot: Slot, now: MonotonicInstant) -> Bool {
        guard case .idle = connections[slot]?.phase else { return false }
        idle.removeAll { $0 == slot }
        _ = vacate(slot, now: now)
        return true
    }

    // MARK: Another server (PoolGeneration)

    /// A connection stands and knows its server; before `connected`. Answers the idle connections to close because it is another one.
    mutating func admit(_ slot: Slot, _ identity: ServerIdentity?, now: MonotonicInstant) -> [Slot] {
        connections[slot]?.generation = generation.admit(identity, now: now)
        return vacateLeftBehind(now: now)
    }

    /// The lease found its server demoted. Answers the idle connections to close with it; those leased follow when they come back.
    mutating func demoted(_ slot: Slot, now: MonotonicInstant) -> [Slot] {
        guard let number = connections[slot]?.generation, generation.end(number, now: now) else { return [] }
        return vacateLeftBehind(now: now)
    }

    func isLeftBehind(_ slot: Slot) -> Bool { connections[slot].map { $0.generation < generation.number } ?? false }

    private mutating func vacateLeftBehind(now: MonotonicInstant) -> [Slot] {
        let closing = idle.filter { isLeftBehind($0) }
        idle.removeAll { closing.contains($0) }
        for slot in closing { _ = vacate(slot, now: now) }
        return closing
    }

    private mutating func offer(_ slot: Slot, now: MonotonicInstant) -> GiveBack {
        while let id = queue.popFirst() {
            guard let waiter = waiters.removeValue(forKey: id) else { continue }
            lease(slot, LeaseRecord(purpose: waiter.purpose, detail: waiter.detail, site: waiter.site, since: now), now: now)
            return .hand(to: id)
        }
        advance(to: now)
        connections[slot]?.phase = .idle(since: now)
        idle.append(slot)
        return .park
    }

    private mutating func lease(_ slot: Slot, _ record: LeaseRecord, now: MonotonicInstant) {
        advance(to: now)
        connections[slot]?.phase = .leased(record)
    }

    private mutating func vacate(_ slot: Slot, now: MonotonicInstant) -> GiveBack {
        advance(to: now)
        connections[slot] = nil
        return .close
    }

    // MARK: Upkeep

    /// Reserves slots for the connections to open now. One at a time beyond the minimum: a burst of short queries is over
    /// before many connections would stand, and they would only be in the way.
    mutating func connectsDue(now: MonotonicInstant) -> [Slot] {
        guard !isShuttingDown else { return [] }
        if let nextConnectAt, now < nextConnectAt { return [] }
        let connecting = connections.count { $0?.isConnecting == true }
        let standing = total - connecting
        let allowed = if case .down = availability { 1 } else { max(1, min(4, configuration.min - standing)) }
        let wanted = max(configuration.min - standing, min(waiters.count, configuration.max - standing), isDown ? 1 : 0)
        let count = min(allowed, wanted) - connecting
        guard count > 0 else { return [] }
        var slots: [Slot] = []
        for slot in connections.indices where connections[slot] == nil && slots.count < count {
            connections[slot] = Connection(phase: .connecting(since: now), retireAt: nil)
            slots.append(slot)
        }
        return slots
    }

    /// When `connectsDue` is to be asked again although nothing else happens; nil when only an event can change its answer.
    var nextConnectDue: MonotonicInstant? { nextConnectAt }

    /// Takes out idle connections that are too old or too long unused. They are to be closed.
    mutating func sweep(now: MonotonicInstant) -> [(slot: Slot, reason: PoolCloseReason)] {
        generation.settle(now: now)
        var closing: [(Slot, PoolCloseReason)] = []
        for slot in idle {
            guard case .idle(let since) = connections[slot]?.phase else { continue }
            if isLeftBehind(slot) {
                closing.append((slot, .failover))
            } else if mayRetire(slot, now: now) {
                closing.append((slot, .lifetime))
            } else if now - since >= configuration.idleTimeout, total - closing.count > configuration.min {
                closing.append((slot, .idle))
            }
        }
        for (slot, _) in closing {
            idle.removeAll { $0 == slot }
            _ = vacate(slot, now: now)
        }
        return closing
    }

    /// Leases that have just outlived the threshold; each is told once.
    mutating func suspectedLeaks(now: MonotonicInstant) -> [LeaseRecord] {
        var found: [LeaseRecord] = []
        for slot in connections.indices {
            guard case .leased(var record) = connections[slot]?.phase else { continue }
            guard !record.reportedAsLeak, now - record.since >= configuration.leakThreshold else { continue }
            record.reportedAsLeak = true
            connections[slot]?.phase = .leased(record)
            found.append(record)
        }
        return found
    }

    /// No new leases from here on. Answers the idle connections to close and the waiters to refuse.
    mutating func shutDown(now: MonotonicInstant) -> (close: [Slot], refuse: [WaiterID]) {
        isShuttingDown = true
        let closing = idle
        idle.removeAll()
        for slot in closing { _ = vacate(slot, now: now) }
        let refused = waitersInOrderIDs
        queue.removeAll()
        waiters.removeAll()
        return (closing, refused)
    }

    private mutating func mayRetire(_ slot: Slot, now: MonotonicInstant) -> Bool {
        guard let retireAt = connections[slot]?.retireAt, retireAt <= now else { return false }
        // A pool that opened all at once must not lose all at once.
        if let lastRetirement, now - lastRetirement < .milliseconds(250) { return false }
        lastRetirement = now
        return true
    }

    // MARK: What it looks like

    var total: Int { connections.count { $0 != nil } }
    var waiting: Int { waiters.count }
    var isEmpty: Bool { total == 0 }

    private var isDown: Bool { if case .down = availability { true } else { false } }

    private func untilNextConnect(_ now: MonotonicInstant) -> Duration {
        nextConnectAt.map { max(.zero, $0 - now) } ?? .zero
    }

    /// What a newcomer would wait: one mean lease for each that must end before its turn.
    ///
    /// Leases that outlive the mean say more about the next ones than those that have ended.
    func estimatedWait(now: MonotonicInstant) -> Duration {
        let ended = tallies.averageHeld.mean ?? .milliseconds(100)
        let oldest = leases.map(\.record.since).min().map { now - $0 } ?? .zero
        let held = max(ended, oldest)
        return .seconds(held.seconds * Double(waiters.count + 1) / Double(configuration.max))
    }

    var oldestWaiterSince: MonotonicInstant? { waiters.values.lazy.map(\.since).min() }
    var leases: [(slot: Slot, record: LeaseRecord)] {
        connections.indices.compactMap { slot in
            if case .leased(let record) = connections[slot]?.phase { (slot, record) } else { nil }
        }
    }
    var waitersInOrder: [Waiter] { queue.compactMap { waiters[$0] } }
    private var waitersInOrderIDs: [WaiterID] { Array(queue.lazy.filter { waiters[$0] != nil }) }

    func counts() -> (idle: Int, leased: Int, connecting: Int, recovering: Int) {
        var counts = (idle: 0, leased: 0, connecting: 0, recovering: 0)
        for connection in connections {
            switch connection?.phase {
            case .idle: counts.idle += 1
            case .leased: counts.leased += 1
            case .connecting: counts.connecting += 1
            case .recovering: counts.recovering += 1
            case nil: break
            }
        }
        return counts
    }

    func picture(now: MonotonicInstant) -> PoolPicture {
        let counts = counts()
        let oldest = leases.min { $0.record.since < $1.record.since }?.record
        return PoolPicture(
            leased: counts.leased, idle: counts.idle, connecting: counts.connecting, waiting: waiters.count, max: configuration.max,
            oldestLease: oldest.map { now - $0.since }, oldestPurpose: oldest?.purpose.name, lastConnectFailure: lastConnectFailure)
    }

    mutating func resetPeak() { tallies.peakWaiting = waiters.count }

    /// Adds up the time since the last change under the counts that held during it. Before every change, and before reading.
    mutating func advance(to now: MonotonicInstant) {
        let counts = counts()
        tallies.advance(to: now, leased: counts.leased + counts.recovering, exhausted: counts.idle == 0 && (total >= configuration.max || !waiters.isEmpty))
    }
}

extension PoolState.Connection {
    fileprivate var isConnecting: Bool { if case .connecting = phase { true } else { false } }
}
