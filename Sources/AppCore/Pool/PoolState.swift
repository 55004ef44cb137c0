import Vitals

/// Which connection is whose, who waits, and what must happen next: every decision of the pool, as a value.
///
/// Nothing here acts. `Pool` holds it under a lock, asks, and carries out the answer outside the lock.
/// While somebody waits who may have a connection, none is idle: one that comes free is handed on before anyone else sees it.
struct PoolState {
    typealias Slot = Int
    typealias WaiterID = WaitingLine.ID

    enum Phase: Equatable {
        case empty
        /// An attempt to connect is under way. Leads to idle, leased or empty.
        case connecting
        case idle
        case leased
        /// A cancelled statement or an open transaction is being cleared. Leads to idle, leased or empty.
        case recovering
    }

    struct Connection {
        var phase = Phase.empty
        /// Since when it is in this phase.
        var since = MonotonicInstant(nanoseconds: 0)
        /// Who has it while it is leased.
        var caller: Caller?
        var workClass = WorkClass.interactive
        /// When its lifetime is over; nil before it stands, or without a limit.
        var retireAt: MonotonicInstant?
        var reportedAsLeak = false
        /// Of a lower number than the present generation: closed as soon as nobody has it.
        var generation = 0
    }

    enum Checkout {
        case lease(Slot)
        case wait
        // Indirect: the numbers of a refusal would make every answer as large as itself.
        indirect case refuse(PoolError)
    }

    enum GiveBack: Equatable {
        case park
        case hand(to: WaiterID)
        case recover
        case close
    }

    let configuration: PoolConfiguration
    private(set) var connections: [Connection]
    /// Newest last: a busy pool then lives on a few warm connections and lets the rest reach their idle timeout.
    private var idle: [Slot] = []
    private var numbers = PoolNumbers()
    private(set) var line = WaitingLine()
    private var admission: Admission
    private(set) var attempts = ConnectAttempts()
    private var lastRetirement: MonotonicInstant?
    private var isShuttingDown = false
    private(set) var generation = PoolGeneration()
    private(set) var tallies: PoolTallies

    init(configuration: PoolConfiguration, now: MonotonicInstant) {
        self.configuration = configuration
        connections = Array(repeating: Connection(), count: configuration.max + configuration.reserved)
        admission = Admission(deadline: configuration.deadline, room: configuration.waiters)
        tallies = PoolTallies(now: now)
    }

    // MARK: A caller comes

    /// A connection at once, a refusal, or leave to `enqueue`.
    mutating func checkout(_ caller: Caller, now: MonotonicInstant) -> Checkout {
        if isShuttingDown { return .refuse(.shuttingDown) }
        if configuration.allows(caller.workClass, numbers), let slot = idle.popLast() {
            lease(slot, caller, now: now)
            return .lease(slot)
        }
        if let error = attempts.unavailable(now: now) { return .refuse(error) }
        let estimate = estimatedWait(of: caller.workClass, now: now)
        let refusal = admission.refusal(
            of: caller.workClass, waiting: line.count, waitingInClass: line.count(of: caller.workClass), estimate: estimate,
            lease: tallies.averageHeld.mean ?? .zero, remaining: caller.deadline.remaining(at: now))
        if let refusal { return .refuse(saturated(refusal, caller.workClass, waited: .zero, now: now)) }
        return .wait
    }

    mutating func enqueue(_ caller: Caller, now: MonotonicInstant) -> WaiterID {
        advance(to: now)
        let id = line.enter(caller)
        tallies.peakWaiting = max(tallies.peakWaiting, line.count)
        return id
    }

    /// Takes a waiter out of the queue; nil when it has been served or refused already.
    mutating func leave(_ id: WaiterID, now: MonotonicInstant) -> Caller? {
        advance(to: now)
        guard let caller = line.leave(id) else { return nil }
        return caller
    }

    /// Takes out all whose deadline has passed. They are to be told `saturated`.
    mutating func expire(now: MonotonicInstant) -> [(id: WaiterID, caller: Caller)] {
        advance(to: now)
        return line.expire(now: now)
    }

    mutating func hastenConnect(now: MonotonicInstant) -> MonotonicInstant? {
        numbers.connecting == 0 ? attempts.hasten(now: now) : nil
    }

    func saturated(_ reason: ShedReason, _ workClass: WorkClass, waited: Duration, now: MonotonicInstant) -> PoolError {
        let wait = estimatedWait(of: workClass, now: now) ?? .milliseconds(100)
        return .saturated(picture(now: now), waited: waited, retryAfter: wait, reason: reason)
    }

    // MARK: A connection comes free

    mutating func giveBack(_ slot: Slot, reusable: Bool, lost: Bool, now: MonotonicInstant) -> GiveBack {
        precondition(connections[slot].phase == .leased, "connection \(slot) was given back twice")
        advance(to: now)
        // One that was lost, perhaps before it was used, says nothing about the next; and those of the critical class say nothing about others'.
        if !lost, connections[slot].workClass != .critical {
            tallies.averageHeld.record(nanoseconds: now.nanoseconds(since: connections[slot].since))
        }
        numbers.addLease(connections[slot].workClass, -1)
        connections[slot].caller = nil
        if lost || isShuttingDown || isLeftBehind(slot) { return vacate(slot) }
        if !reusable {
            numbers.recovering += 1
            enter(.recovering, slot, now)
            return .recover
        }
        if mayRetire(slot, now: now) { return vacate(slot) }
        return offer(slot, now: now)
    }

    /// The clearing ended: the connection is as good as new, or is to be closed.
    mutating func recovered(_ slot: Slot, usable: Bool, now: MonotonicInstant) -> GiveBack {
        advance(to: now)
        numbers.recovering -= 1
        guard usable, !isShuttingDown, !isLeftBehind(slot) else { return vacate(slot) }
        return offer(slot, now: now)
    }

    mutating func connected(_ slot: Slot, now: MonotonicInstant) -> GiveBack {
        advance(to: now)
        attempts.succeeded()
        tallies.opened += 1
        numbers.connecting -= 1
        if isShuttingDown { return vacate(slot) }
        if configuration.lifetime > .zero { connections[slot].retireAt = retirement(now: now) }
        return offer(slot, now: now)
    }

    /// An attempt to connect failed. Answers the waiters to refuse: all of them when no connection stands, none otherwise.
    mutating func connectFailed(_ slot: Slot, cause: String, now: MonotonicInstant, using generator: inout some RandomNumberGenerator) -> [WaiterID] {
        advance(to: now)
        numbers.connecting -= 1
        connections[slot] = Connection()
        let standing = total > numbers.connecting
        attempts.failed(cause, standing: standing, now: now, using: &generator)
        guard !standing else { return [] }
        admission.drained()
        return line.clear()
    }

    /// The server closed a connection that nobody used. False when it is leased after all: its holder will notice.
    mutating func lostWhileIdle(_ slot: Slot, now: MonotonicInstant) -> Bool {
        guard connections[slot].phase == .idle else { return false }
        advance(to: now)
        idle.removeAll { $0 == slot }
        _ = vacate(slot)
        return true
    }

    // MARK: Another server (PoolGeneration)

    /// A connection stands and knows its server; before `connected`. Answers the idle connections to close because it is another one.
    mutating func admit(_ slot: Slot, _ identity: ServerIdentity?, now: MonotonicInstant) -> [Slot] {
        connections[slot].generation = generation.admit(identity, now: now)
        return vacateLeftBehind(now: now)
    }

    /// The lease found its server demoted. Answers the idle connections to close with it; those leased follow when they come back.
    mutating func demoted(_ slot: Slot, now: MonotonicInstant) -> [Slot] {
        guard generation.end(connections[slot].generation, now: now) else { return [] }
        return vacateLeftBehind(now: now)
    }

    func isLeftBehind(_ slot: Slot) -> Bool { connections[slot].generation < generation.number }

    private mutating func vacateLeftBehind(now: MonotonicInstant) -> [Slot] {
        advance(to: now)
        let closing = idle.filter { isLeftBehind($0) }
        idle.removeAll { closing.contains($0) }
        for slot in closing { _ = vacate(slot) }
        return closing
    }

    /// To the next who may have it; else to the idle ones.
    private mutating func offer(_ slot: Slot, now: MonotonicInstant) -> GiveBack {
        if let id = serve(slot, now: now) { return .hand(to: id) }
        if line.count == 0 { admission.drained() }
        enter(.idle, slot, now)
        idle.append(slot)
        return .park
    }

    /// A lease ended and its connection went away, but under the limits of classes that made room for somebody who waits: what lies idle, the
    /// reserve for instance, is for him.
    mutating func serveFromIdle(now: MonotonicInstant) -> (slot: Slot, to: WaiterID)? {
        guard line.count > 0, let slot = idle.last, let id = serve(slot, now: now) else { return nil }
        idle.removeLast()
        return (slot, id)
    }

    /// Leases the connection to the next who may have it, the most urgent class first.
    private mutating func serve(_ slot: Slot, now: MonotonicInstant) -> WaiterID? {
        guard line.count > 0 else { return nil }
        for workClass in WorkClass.allCases where configuration.allows(workClass, numbers) {
            guard let oldest = line.oldest(of: workClass) else { continue }
            let newestFirst = admission.prefersNewest(oldestRemaining: oldest.deadline.remaining(at: now), lease: tallies.averageHeld.mean)
            let longest = line.oldestSince.map { now - $0 } ?? .zero
            guard let (id, caller) = line.next(of: workClass, newestFirst: newestFirst) else { continue }
            admission.served(whileOldestWaited: longest, now: now)
            lease(slot, caller, now: now)
            return id
        }
        return nil
    }

    private mutating func lease(_ slot: Slot, _ caller: Caller, now: MonotonicInstant) {
        advance(to: now)
        numbers.addLease(caller.workClass, 1)
        enter(.leased, slot, now)
        connections[slot].caller = caller
        connections[slot].workClass = caller.workClass
        connections[slot].reportedAsLeak = false
    }

    private mutating func enter(_ phase: Phase, _ slot: Slot, _ now: MonotonicInstant) {
        connections[slot].phase = phase
        connections[slot].since = now
    }

    private mutating func vacate(_ slot: Slot) -> GiveBack {
        connections[slot] = Connection()
        return .close
    }

    // MARK: Upkeep

    /// Reserves slots for the connections to open now. One at a time beyond the minimum: a burst of short queries is over
    /// before many connections would stand, and they would only be in the way.
    mutating func connectsDue(now: MonotonicInstant) -> [Slot] {
        guard !isShuttingDown, attempts.mayBegin(at: now) else { return [] }
        let standing = total - numbers.connecting
        let allowed = attempts.isDown ? 1 : max(1, min(4, configuration.min - standing))
        let wanted = max(configuration.min - standing, wantedByWaiters(standing), attempts.isDown ? 1 : 0)
        let count = min(allowed, wanted) - numbers.connecting
        guard count > 0 else { return [] }
        var slots: [Slot] = []
        for slot in connections.indices where connections[slot].phase == .empty && slots.count < count {
            enter(.connecting, slot, now)
            numbers.connecting += 1
            slots.append(slot)
        }
        return slots
    }

    /// Whether a waiter that has just come is a reason to look at `connectsDue`.
    var wantsConnection: Bool { wantedByWaiters(total - numbers.connecting) > numbers.connecting }

    /// Connections that would be taken at once. The reserved ones are only opened for the critical class.
    private func wantedByWaiters(_ standing: Int) -> Int {
        let critical = line.count(of: .critical)
        let background = min(line.count(of: .background), max(0, configuration.backgroundMax - numbers.background))
        let limit = configuration.max + min(configuration.reserved, numbers.critical + critical)
        return min(critical + line.count(of: .interactive) + background, limit - standing)
    }

    /// Takes out idle connections that are too old or too long unused. They are to be closed.
    mutating func sweep(now: MonotonicInstant) -> [(slot: Slot, reason: PoolCloseReason)] {
        advance(to: now)
        generation.settle(now: now)
        var closing: [(Slot, PoolCloseReason)] = []
        for slot in idle {
            if isLeftBehind(slot) {
                closing.append((slot, .failover))
            } else if mayRetire(slot, now: now) {
                closing.append((slot, .lifetime))
            } else if now - connections[slot].since >= configuration.idleTimeout, total - closing.count > configuration.min {
                closing.append((slot, .idle))
            }
        }
        for (slot, _) in closing {
            idle.removeAll { $0 == slot }
            _ = vacate(slot)
        }
        return closing
    }

    /// Leases that have just outlived the threshold; each is told once.
    mutating func suspectedLeaks(now: MonotonicInstant) -> [(slot: Slot, caller: Caller, age: Duration)] {
        var found: [(Slot, Caller, Duration)] = []
        for slot in connections.indices where connections[slot].phase == .leased && !connections[slot].reportedAsLeak {
            guard let caller = connections[slot].caller, now - connections[slot].since >= configuration.leakThreshold else { continue }
            connections[slot].reportedAsLeak = true
            found.append((slot, caller, now - connections[slot].since))
        }
        return found
    }

    /// Who has a connection for so long that it was reported; nil for all others.
    func suspect(_ slot: Slot, now: MonotonicInstant) -> (caller: Caller, age: Duration)? {
        guard connections[slot].reportedAsLeak, let caller = connections[slot].caller else { return nil }
        return (caller, now - connections[slot].since)
    }

    /// No new leases from here on. Answers the idle connections to close and the waiters to refuse.
    mutating func shutDown(now: MonotonicInstant) -> (close: [Slot], refuse: [WaiterID]) {
        advance(to: now)
        isShuttingDown = true
        let closing = idle
        idle.removeAll()
        for slot in closing { _ = vacate(slot) }
        return (closing, line.clear())
    }

    /// The end of a lifetime that begins now: up to a tenth early, and apart from all others by what retirements are apart.
    private func retirement(now: MonotonicInstant) -> MonotonicInstant {
        var end = now + .seconds(Double.random(in: 0.9...1) * configuration.lifetime.seconds)
        for other in connections.compactMap(\.retireAt).sorted(by: >) where other - end < Self.betweenRetirements {
            guard end - other < Self.betweenRetirements else { break }
            end = other - Self.betweenRetirements
        }
        return end
    }

    /// A pool that opened all at once must not lose all at once.
    static let betweenRetirements = Duration.milliseconds(250)

    private mutating func mayRetire(_ slot: Slot, now: MonotonicInstant) -> Bool {
        guard let retireAt = connections[slot].retireAt, retireAt <= now else { return false }
        if let lastRetirement, now < lastRetirement + Self.betweenRetirements { return false }
        lastRetirement = now
        return true
    }

    // MARK: What it looks like

    var total: Int { idle.count + numbers.leased + numbers.connecting + numbers.recovering }
    var waiting: Int { line.count }
    var isEmpty: Bool { total == 0 }
    var isOverloaded: Bool { admission.isOverloaded }

    /// What a newcomer would wait; nil when too little is known for a guess.
    func estimatedWait(of workClass: WorkClass, now: MonotonicInstant) -> Duration? {
        guard var estimate = WaitEstimate(tallies.averageHeld) else { return nil }
        for connection in connections where connection.phase == .leased { estimate.add(leaseOfAge: now - connection.since) }
        estimate.add(free: numbers.recovering + idle.count)
        return estimate.wait(behind: line.count(before: workClass), limit: configuration.limit(of: workClass))
    }

    /// Oldest first.
    var leases: [(slot: Slot, caller: Caller, since: MonotonicInstant)] {
        connections.indices.compactMap { slot in
            guard connections[slot].phase == .leased, let caller = connections[slot].caller else { return nil }
            return (slot, caller, connections[slot].since)
        }.sorted { $0.since < $1.since }
    }

    func counts() -> (idle: Int, leased: Int, connecting: Int, recovering: Int) {
        (idle.count, numbers.leased, numbers.connecting, numbers.recovering)
    }

    func picture(now: MonotonicInstant) -> PoolPicture {
        let oldest = leases.first
        return PoolPicture(
            leased: numbers.leased, idle: idle.count, connecting: numbers.connecting, waiting: line.count, max: configuration.max,
            oldestLease: oldest.map { now - $0.since }, oldestPurpose: oldest?.caller.purpose.name, lastConnectFailure: attempts.lastFailure)
    }

    mutating func resetPeak() { tallies.peakWaiting = line.count }

    /// Adds up the time since the last change under the counts that held during it. Before every change, and before reading.
    mutating func advance(to now: MonotonicInstant) {
        let exhausted = idle.isEmpty && (total >= configuration.max || line.count > 0)
        tallies.advance(to: now, leased: numbers.leased + numbers.recovering, exhausted: exhausted)
    }
}
