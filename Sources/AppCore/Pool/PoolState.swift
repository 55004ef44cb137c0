import Vitals

/// Which connection is whose, who waits, and what must happen next: every decision of the pool, as a value.
///
/// Nothing here acts. `Pool` holds it under a lock, asks, and carries out the answer outside the lock.
/// While somebody waits who may have a connection, none is idle: one that comes free is handed on before anyone else sees it.
struct PoolState {
    typealias Slot = Int

    enum Phase: Equatable {
        case empty
        /// An attempt to connect is under way. Leads to idle, leased or empty.
        case connecting
        case idle
        case leased
        /// What a lease left behind is being cleaned up: a statement, a transaction, a changed session. Leads to idle, leased, retiring or empty.
        case recovering
        /// Its lifetime is over: no caller gets it any more. It is closed in its turn, `Retirements.pause` after the one before. Leads to empty.
        case retiring
    }

    struct Connection {
        var phase = Phase.empty
        /// Since when it is in this phase.
        var since = MonotonicInstant(nanoseconds: 0)
        /// Who has it while it is leased.
        var caller: Caller?
        var workClass = WorkClass.interactive
        /// When its lifetime is over; nil before it is open, or without a limit.
        var retireAt: MonotonicInstant?
        var reportedAsLeak = false
        /// The generation it belongs to. If that is lower than the present one, it is closed when nobody has it.
        var generation = 0
    }

    enum Checkout {
        case lease(Slot)
        case wait(Waiter)
        case refuse(PoolError)
    }

    enum NextStep: Equatable {
        case park
        case hand(to: Waiter)
        case recover
        case close(PoolCloseReason)
        /// Its lifetime is over, and it must wait for its turn: `retireNext` is to be called at this instant. Nil when that call is already set.
        case retire(at: MonotonicInstant?)
    }

    let configuration: PoolConfiguration
    private(set) var connections: [Connection]
    /// Newest last: a busy pool then lives on a few warm connections and lets the rest reach their idle timeout.
    private(set) var idle: [Slot] = []
    private(set) var numbers = PoolNumbers()
    private(set) var queue = WaitQueue()
    private(set) var admission: Admission
    private(set) var attempts = ConnectAttempts()
    /// Where it connects to, for messages.
    let server: String
    /// For how long an attempt to connect may have no answer before callers are told that the server is not there.
    let patience: Duration
    private var retirements: Retirements
    private(set) var isShuttingDown = false
    private(set) var generation = PoolGeneration()
    private(set) var tallies: PoolTallies

    /// - Parameter hosts: how many `server` names.
    init(configuration: PoolConfiguration, server: String = "the server", hosts: Int = 1, now: MonotonicInstant) {
        self.configuration = configuration
        self.server = server
        patience = ConnectAttempts.patience(hosts: hosts, timeout: configuration.connectTimeout)
        connections = Array(repeating: Connection(), count: configuration.max + configuration.reserved)
        retirements = Retirements(lifetime: configuration.lifetime, connections: connections.count)
        admission = Admission(deadline: configuration.deadline, room: configuration.waiters)
        tallies = PoolTallies(now: now)
    }

    // MARK: A caller comes

    /// An idle connection, a place in the queue, or a refusal.
    ///
    /// - Parameter since: when it began to ask; nil is now.
    mutating func checkout(_ caller: Caller, since: MonotonicInstant? = nil, now: MonotonicInstant) -> Checkout {
        if isShuttingDown { return .refuse(.shuttingDown) }
        if configuration.allows(caller.workClass, numbers), let slot = idle.last {
            advance(to: now)
            idle.removeLast()
            lease(slot, caller, now: now)
            return .lease(slot)
        }
        if let error = refusal(of: caller, now: now) { return .refuse(error) }
        return .wait(enqueue(caller, since: since, now: now))
    }

    /// Why a caller may not wait; nil when it may.
    private func refusal(of caller: Caller, now: MonotonicInstant) -> PoolError? {
        if let error = unavailable(now: now) { return error }
        let estimate = estimatedWait(of: caller.workClass, now: now)
        let reason = admission.refusal(
            of: caller.workClass, waiting: queue.count, waitingInClass: queue.count(of: caller.workClass), estimate: estimate,
            lease: tallies.averageHeld.mean ?? .zero, remaining: caller.deadline.remaining(at: now))
        return reason.map { refusal($0, estimate: estimate, waited: .zero, now: now) }
    }

    mutating func enqueue(_ caller: Caller, since: MonotonicInstant? = nil, now: MonotonicInstant) -> Waiter {
        advance(to: now)
        let waiter = queue.enter(caller, since: since ?? now)
        tallies.peakWaiting = max(tallies.peakWaiting, queue.count)
        return waiter
    }

    /// Takes a waiter out of the queue. False when it has been served or refused already.
    mutating func leave(_ waiter: Waiter, now: MonotonicInstant) -> Bool {
        advance(to: now)
        defer { noticeEmptyQueue() }
        return queue.leave(waiter)
    }

    /// Takes out all whose deadline has passed. They are to be told why: `refusal`.
    mutating func expire(now: MonotonicInstant) -> [Waiter] {
        advance(to: now)
        defer { noticeEmptyQueue() }
        return queue.expire(now: now)
    }

    // MARK: A connection comes free

    mutating func giveBack(_ slot: Slot, reusable: Bool, lost: Bool, now: MonotonicInstant) -> NextStep {
        precondition(connections[slot].phase == .leased, "connection \(slot) was given back twice")
        advance(to: now)
        // Leases that lost their connection, and those of the critical class, do not count in the mean.
        if !lost, connections[slot].workClass != .critical {
            tallies.averageHeld.record(nanoseconds: now.nanoseconds(since: connections[slot].since))
        }
        numbers.addLease(connections[slot].workClass, -1)
        connections[slot].caller = nil
        if let reason = endOfUse(slot, lost: lost) { return close(slot, reason) }
        if !reusable {
            numbers.recovering += 1
            enter(.recovering, slot, now)
            return .recover
        }
        return replaceOrOffer(slot, now: now)
    }

    /// Recovery has ended: the connection is as good as new, or is to be closed.
    mutating func recovered(_ slot: Slot, usable: Bool, now: MonotonicInstant) -> NextStep {
        advance(to: now)
        numbers.recovering -= 1
        if let reason = endOfUse(slot, lost: !usable) { return close(slot, reason) }
        return replaceOrOffer(slot, now: now)
    }

    /// Why the connection must be closed, apart from its age; nil when it may stay open.
    private func endOfUse(_ slot: Slot, lost: Bool) -> PoolCloseReason? {
        if isLeftBehind(slot) { return .failover }
        if isShuttingDown { return .shutdown }
        return lost ? .error : nil
    }

    /// The connection is clean. If its lifetime is over it is closed or retires; else it is offered.
    private mutating func replaceOrOffer(_ slot: Slot, now: MonotonicInstant) -> NextStep {
        guard let end = connections[slot].retireAt, end <= now else { return offer(slot, now: now) }
        if retirements.begin(now: now) { return close(slot, .lifetime) }
        numbers.retiring += 1
        enter(.retiring, slot, now)
        return .retire(at: retirements.wait(slot, end: end, now: now))
    }

    /// The connection to close for its age now, and when to ask again.
    mutating func retireNext(now: MonotonicInstant) -> Retirements.Next {
        let next = retirements.next(now: now)
        guard let slot = next.slot else { return next }
        advance(to: now)
        numbers.retiring -= 1
        vacate(slot)
        return next
    }

    mutating func connected(_ slot: Slot, now: MonotonicInstant) -> NextStep {
        advance(to: now)
        attempts.succeeded(now: now)
        tallies.opened += 1
        numbers.connecting -= 1
        // Another one may have found a better server meanwhile.
        if let reason = endOfUse(slot, lost: false) { return close(slot, reason) }
        if configuration.lifetime > .zero {
            connections[slot].retireAt = retirements.end(from: now, others: connections.compactMap(\.retireAt))
        }
        return offer(slot, now: now)
    }

    /// To the next who may have it; else to the idle ones.
    private mutating func offer(_ slot: Slot, now: MonotonicInstant) -> NextStep {
        if let waiter = serve(slot, now: now) { return .hand(to: waiter) }
        // Nobody waits, or background work alone, for its own limit: the queue is not standing.
        if queue.count(upTo: .interactive) == 0 { admission.drained() }
        enter(.idle, slot, now)
        idle.append(slot)
        return .park
    }

    /// A lease has ended, and its connection is not free yet or is closed. The class of its caller may now have one more, from the idle ones:
    /// leases one to the next waiter that may have it. Nil when there is no such connection, or no such waiter.
    mutating func serveFromIdle(now: MonotonicInstant) -> (slot: Slot, to: Waiter)? {
        guard queue.count > 0, let slot = idle.last else { return nil }
        advance(to: now)
        guard let waiter = serve(slot, now: now) else { return nil }
        idle.removeLast()
        return (slot, waiter)
    }

    /// Leases the connection to the next who may have it, the most urgent class first.
    private mutating func serve(_ slot: Slot, now: MonotonicInstant) -> Waiter? {
        guard queue.count > 0 else { return nil }
        for workClass in WorkClass.allCases where configuration.allows(workClass, numbers) {
            guard let oldest = queue.oldest(of: workClass) else { continue }
            let newestFirst = admission.isOverloaded
                && admission.prefersNewest(oldestRemaining: oldest.deadline.remaining(at: now), lease: tallies.averageHeld.mean)
            // Background work does not count: it may wait for its own limit in a pool that is far from full.
            let longest = queue.oldestSince(upTo: .interactive)
            guard let waiter = queue.next(of: workClass, newestFirst: newestFirst) else { continue }
            if let longest { admission.served(whileOldestWaited: now - longest, now: now) }
            noticeEmptyQueue()
            lease(slot, waiter.caller, now: now)
            return waiter
        }
        return nil
    }

    /// Background work does not count, as in `serve`.
    private mutating func noticeEmptyQueue() {
        if queue.count(upTo: .interactive) == 0 { admission.queueIsEmpty() }
    }

    private mutating func lease(_ slot: Slot, _ caller: Caller, now: MonotonicInstant) {
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

    private mutating func close(_ slot: Slot, _ reason: PoolCloseReason) -> NextStep {
        vacate(slot)
        return .close(reason)
    }

    private mutating func vacate(idle slots: [Slot]) {
        idle.removeAll { slots.contains($0) }
        for slot in slots { vacate(slot) }
    }

    private mutating func vacate(_ slot: Slot) {
        connections[slot] = Connection()
        if open == 0 { attempts.lastOneWent() }
    }

    // MARK: Another server (PoolGeneration)

    /// A connection was opened and knows its server; before `connected`. If it is another server, returns the idle connections to the former one,
    /// which are to be closed.
    mutating func admit(_ slot: Slot, _ identity: ServerIdentity?, now: MonotonicInstant) -> [Slot] {
        connections[slot].generation = generation.admit(identity, now: now)
        return vacateLeftBehind(now: now)
    }

    /// The lease found its server demoted. Returns the idle connections to close with it; those leased follow when they come back.
    mutating func demoted(_ slot: Slot, now: MonotonicInstant) -> [Slot] {
        guard generation.end(connections[slot].generation, now: now) else { return [] }
        return vacateLeftBehind(now: now)
    }

    func isLeftBehind(_ slot: Slot) -> Bool { connections[slot].generation < generation.number }

    private mutating func vacateLeftBehind(now: MonotonicInstant) -> [Slot] {
        advance(to: now)
        let closing = idle.filter { isLeftBehind($0) }
        vacate(idle: closing)
        return closing
    }

    // MARK: Upkeep

    /// An attempt to connect failed. Returns the waiters to refuse: all of them when no connection is open, none otherwise.
    mutating func connectFailed(
        _ slot: Slot, cause: String, _ error: PostgresError? = nil, now: MonotonicInstant, using generator: inout some RandomNumberGenerator
    ) -> [Waiter] {
        advance(to: now)
        numbers.connecting -= 1
        connections[slot] = Connection()
        attempts.failed(cause, error, othersAreOpen: open > 0, now: now, using: &generator)
        guard open == 0 else { return [] }
        admission.drained()
        return queue.clear()
    }

    /// The attempt ended because the pool ends.
    mutating func connectAbandoned(_ slot: Slot, now: MonotonicInstant) {
        advance(to: now)
        numbers.connecting -= 1
        connections[slot] = Connection()
    }

    /// An attempt to connect has had no answer for too long (`silence`): the database is down until a connection is open.
    ///
    /// - Returns: the waiters to refuse; nil when no attempt is silent for so long, or when that is known already.
    mutating func noticeSilence(now: MonotonicInstant) -> [Waiter]? {
        guard !attempts.isDown, let (error, since) = silence(now: now) else { return nil }
        advance(to: now)
        attempts.unanswered(error, since: since, now: now)
        admission.drained()
        return queue.clear()
    }

    /// A caller asks while the database is down.
    ///
    /// - Returns: when to try next, if that is sooner than before.
    mutating func hastenConnect(now: MonotonicInstant) -> MonotonicInstant? {
        numbers.connecting == 0 ? attempts.hasten(now: now) : nil
    }

    /// The server closed a connection that nobody used. False when it is not idle any more: whoever has it will notice.
    mutating func lostWhileIdle(_ slot: Slot, now: MonotonicInstant) -> Bool {
        guard connections[slot].phase == .idle else { return false }
        advance(to: now)
        vacate(idle: [slot])
        return true
    }

    /// Reserves slots for the connections to open now.
    mutating func connectsDue(now: MonotonicInstant) -> [Slot] {
        var slots: [Slot] = []
        let count = connectsWanted(now: now)
        for slot in connections.indices where connections[slot].phase == .empty && slots.count < count {
            enter(.connecting, slot, now)
            numbers.connecting += 1
            slots.append(slot)
        }
        return slots
    }

    /// Takes out idle connections that are too old or too long unused. They are to be closed.
    mutating func sweep(now: MonotonicInstant) -> [(slot: Slot, reason: PoolCloseReason)] {
        advance(to: now)
        generation.leaveIfDue(now: now)
        var closing: [(Slot, PoolCloseReason)] = []
        for slot in idle {
            if isLeftBehind(slot) {
                closing.append((slot, .failover))
            } else if let end = connections[slot].retireAt, end <= now, retirements.begin(now: now) {
                closing.append((slot, .lifetime))
            } else if now - connections[slot].since >= configuration.idleTimeout, total - closing.count > configuration.min {
                closing.append((slot, .idle))
            }
        }
        vacate(idle: closing.map(\.0))
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

    /// No new leases from here on. Returns the idle connections to close and the waiters to refuse.
    mutating func shutDown(now: MonotonicInstant) -> (close: [Slot], refuse: [Waiter]) {
        advance(to: now)
        isShuttingDown = true
        let retiring = retirements.clear()
        numbers.retiring -= retiring.count
        let closing = idle + retiring
        idle.removeAll()
        for slot in closing { vacate(slot) }
        return (closing, queue.clear())
    }

    // MARK: Time

    mutating func resetPeak() { tallies.peakWaiting = queue.count }

    /// Adds the time since the last change to the tallies. To be called before every change and before reading.
    mutating func advance(to now: MonotonicInstant) {
        let exhausted = idle.isEmpty && (total >= configuration.max || queue.count > 0)
        tallies.advance(to: now, leased: numbers.inUse, exhausted: exhausted)
    }
}
