import Testing
import Vitals

@testable import AppCore

/// Who may queue and who is served next, as values.
@Suite("Admission")
struct AdmissionTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)
    private let site = CallSite(file: #fileID, line: 1)

    private func at(_ milliseconds: Int) -> MonotonicInstant { start + .milliseconds(milliseconds) }

    private func caller(_ workClass: WorkClass, at now: MonotonicInstant, for budget: Int = 2_000) -> Caller {
        Caller(purpose: "test", workClass: workClass, site: site, since: now, deadline: Deadline(now + .milliseconds(budget)))
    }

    /// A pool whose connections stand, and whose leases have so far taken 100 ms each.
    private func experienced(max: Int, reserved: Int = 0, waiters: Int = 100, deadline: Duration = .seconds(2)) -> PoolState {
        let configuration = PoolConfiguration(max: max, min: max, deadline: deadline, waiters: waiters, reserved: reserved)
        var state = PoolState(configuration: configuration, now: start - .seconds(10))
        while case let due = state.connectsDue(now: start - .seconds(10)), !due.isEmpty {
            for slot in due { _ = state.connected(slot, now: start - .seconds(10)) }
        }
        for round in 0..<10 {
            let now = start - .seconds(9) + .milliseconds(round * 200)
            guard case .lease(let slot) = state.checkout(caller(.interactive, at: now), now: now) else { continue }
            _ = state.giveBack(slot, reusable: true, lost: false, now: now + .milliseconds(100))
        }
        return state
    }

    private func take(_ state: inout PoolState, _ workClass: WorkClass = .interactive, at now: MonotonicInstant) -> Int? {
        if case .lease(let slot) = state.checkout(caller(workClass, at: now), now: now) { slot } else { nil }
    }

    private func reason(_ checkout: PoolState.Checkout) -> ShedReason? {
        if case .refuse(.saturated(_, _, _, let reason)) = checkout { reason } else { nil }
    }

    @Test(arguments: [
        (workClass: WorkClass.interactive, waiting: 100, estimate: Int?.none, lease: 0, becomes: ShedReason?.some(.queueFull)),
        (.interactive, 99, nil, 0, nil),
        (.background, 50, nil, 0, .queueFull),
        (.background, 49, nil, 0, nil),
        (.interactive, 5, 2_001, 0, .tooLate),
        (.interactive, 5, 2_000, 0, nil),
        // To wait is not enough: the work takes its time, too.
        (.interactive, 5, 1_801, 100, .tooLate),
        (.interactive, 5, 1_800, 100, nil),
        // The critical class is never refused for a guess.
        (.critical, 5, 60_000, 100, nil),
        (.critical, 100, nil, 0, .queueFull),
    ])
    func `P4: nobody queues who will not be served in time`(
        row: (workClass: WorkClass, waiting: Int, estimate: Int?, lease: Int, becomes: ShedReason?)
    ) {
        let admission = Admission(deadline: .seconds(2), room: 100)
        let refusal = { (remaining: Duration) in
            admission.refusal(
                of: row.workClass, waiting: row.waiting, waitingInClass: row.waiting, estimate: row.estimate.map { .milliseconds($0) },
                lease: .milliseconds(row.lease), remaining: remaining)
        }
        #expect(refusal(.seconds(2)) == row.becomes)
        #expect(refusal(.zero) == row.becomes ?? .tooLate)
    }

    @Test func `a queue is standing when nobody was served quickly for a whole interval, and no longer when it has drained`() {
        var admission = Admission(deadline: .seconds(2), room: 100)
        #expect(admission.target == .milliseconds(100) && admission.interval == .milliseconds(500))
        // A burst that drains: one caller in each interval is served quickly.
        for step in 0..<40 { admission.served(whileOldestWaited: .milliseconds(step % 5 == 0 ? 20 : 400), now: at(step * 50)) }
        #expect(!admission.isOverloaded)
        for step in 40..<62 { admission.served(whileOldestWaited: .milliseconds(300), now: at(step * 50)) }
        #expect(admission.isOverloaded)
        let refusal = { (estimate: Int) in
            admission.refusal(of: .interactive, waiting: 5, waitingInClass: 5, estimate: .milliseconds(estimate), lease: .zero, remaining: .seconds(2))
        }
        #expect(refusal(201) == .overload)
        #expect(refusal(200) == nil)
        admission.drained()
        #expect(!admission.isOverloaded)
    }

    @Test func `the estimate counts those before, by how long leases take, and does not believe in a stuck one`() {
        var state = experienced(max: 4)
        for _ in 0..<4 { #expect(take(&state, at: at(0)) != nil) }
        for _ in 0..<7 { _ = state.enqueue(caller(.interactive, at: at(0)), now: at(0)) }
        // Eight have to be served, four at a time, 100 ms each.
        #expect(state.estimatedWait(of: .interactive, now: at(0)) == .milliseconds(200))
        // The critical class has nobody before it.
        #expect(state.estimatedWait(of: .critical, now: at(0)) == .milliseconds(25))
        // A minute later one connection is still out, the others are taken anew: it counts for nothing.
        for slot in 0..<3 { _ = state.giveBack(slot, reusable: true, lost: false, now: at(100)) }
        var stuck = experienced(max: 4)
        #expect(take(&stuck, at: at(-60_000 + 10)) != nil)
        for _ in 0..<3 { #expect(take(&stuck, at: at(0)) != nil) }
        let estimate = stuck.estimatedWait(of: .interactive, now: at(0)) ?? .zero
        #expect(estimate > .milliseconds(33) && estimate < .milliseconds(34))
    }

    @Test func `one very long lease does not make the next callers look hopeless, a lasting change does`() {
        var average = MovingAverage()
        for _ in 0..<30 { average.record(nanoseconds: 2_000_000) }
        average.record(nanoseconds: 300_000_000_000)
        #expect(average.mean ?? .zero < .milliseconds(15))
        for _ in 0..<40 { average.record(nanoseconds: 3_000_000_000) }
        #expect(average.mean ?? .zero > .milliseconds(2_800))
    }

    @Test func `the more urgent class is served first, each in order of arrival`() {
        var state = experienced(max: 1)
        let slot = take(&state, at: at(0)) ?? -1
        let order: [WorkClass] = [.background, .interactive, .critical, .background, .interactive, .critical]
        let ids = order.enumerated().map { state.enqueue(caller($1, at: at($0)), now: at($0)) }
        let served = (0..<6).map { step -> PoolState.NextStep in state.giveBack(slot, reusable: true, lost: false, now: at(10 + step)) }
        #expect(served == [2, 5, 1, 4, 0, 3].map { PoolState.NextStep.hand(to: ids[$0]) })
    }

    @Test func `background work leaves a quarter to those somebody waits for`() {
        var state = experienced(max: 4)
        for _ in 0..<3 { #expect(take(&state, .background, at: at(0)) != nil) }
        guard case .wait(let waiting) = state.checkout(caller(.background, at: at(1)), now: at(1)) else {
            Issue.record("it does not wait")
            return
        }
        #expect(take(&state, .interactive, at: at(2)) != nil)
        // A background lease that ends makes room for the next of its class.
        #expect(state.giveBack(state.leases[0].slot, reusable: true, lost: false, now: at(3)) == .hand(to: waiting))
    }

    @Test func `the reserve is opened for the critical class alone, and nobody else gets it`() {
        var state = experienced(max: 2, reserved: 1)
        for _ in 0..<2 { #expect(take(&state, at: at(0)) != nil) }
        let ordinary = state.enqueue(caller(.interactive, at: at(1)), now: at(1))
        #expect(state.connectsDue(now: at(1)) == [])
        let urgent = state.enqueue(caller(.critical, at: at(2)), now: at(2))
        #expect(state.connectsDue(now: at(2)) == [2])
        #expect(state.connected(2, now: at(5)) == .hand(to: urgent))
        // It lies idle while an interactive caller waits, and the next critical one has it at once.
        #expect(state.giveBack(2, reusable: true, lost: false, now: at(6)) == .park)
        #expect(take(&state, .interactive, at: at(7)) == nil)
        #expect(take(&state, .critical, at: at(8)) == 2)
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(9)) == .hand(to: ordinary))
    }

    @Test(arguments: [false, true])
    func `a lease that ends without its connection makes room for who waits, and the idle reserve serves`(lost: Bool) {
        var state = experienced(max: 2, reserved: 1)
        for _ in 0..<2 { #expect(take(&state, at: at(0)) != nil) }
        let urgent = state.enqueue(caller(.critical, at: at(1)), now: at(1))
        #expect(state.connectsDue(now: at(1)) == [2])
        #expect(state.connected(2, now: at(2)) == .hand(to: urgent))
        let ordinary = state.enqueue(caller(.interactive, at: at(3)), now: at(3))
        #expect(state.giveBack(2, reusable: true, lost: false, now: at(4)) == .park)
        #expect(state.serveFromIdle(now: at(4)) == nil)
        #expect(state.giveBack(0, reusable: false, lost: lost, now: at(5)) == (lost ? .close(.error) : .recover))
        let served = state.serveFromIdle(now: at(5))
        #expect(served?.slot == 2 && served?.to == ordinary)
        #expect(state.counts().idle == 0 && state.counts().leased == 2)
    }

    @Test(arguments: [
        (overloaded: false, remaining: 1, lease: Int?.some(100), newest: false),
        (true, 100, 100, false),
        (true, 99, 100, true),
        (true, -5, 100, true),
        // Nobody knows yet what a lease takes.
        (true, 1, nil, false),
    ])
    func `the oldest is first, unless in overload he has too little time left`(
        row: (overloaded: Bool, remaining: Int, lease: Int?, newest: Bool)
    ) {
        var admission = Admission(deadline: .seconds(2), room: 100)
        for step in 0..<(row.overloaded ? 40 : 0) { admission.served(whileOldestWaited: .milliseconds(300), now: at(step * 50)) }
        #expect(admission.isOverloaded == row.overloaded)
        let lease = row.lease.map { Duration.milliseconds($0) }
        #expect(admission.prefersNewest(oldestRemaining: .milliseconds(row.remaining), lease: lease) == row.newest)
    }

    /// A pool of one whose queue has been found to stand: 30 callers wait, the oldest for longest.
    private func standing(budget: Int) -> (state: PoolState, slot: Int, ids: [Waiter], now: Int) {
        var state = experienced(max: 1, deadline: .milliseconds(100))
        let slot = take(&state, at: at(0)) ?? -1
        var ids = (0..<40).map { state.enqueue(caller(.interactive, at: at($0), for: budget), now: at($0)) }
        // The oldest always waits longer than the target of 5 ms; after two intervals of 100 ms the queue is known to stand.
        var now = 60
        while !state.isOverloaded, !ids.isEmpty {
            #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .hand(to: ids.removeFirst()))
            now += 30
        }
        #expect(state.isOverloaded)
        return (state, slot, ids, now)
    }

    @Test func `a standing queue is served in order of arrival, and lets in only who is served soon`() {
        var (state, slot, ids, now) = standing(budget: 60_000)
        #expect(reason(state.checkout(caller(.interactive, at: at(now), for: 100_000), now: at(now))) == .overload)
        while state.waiting > 0 {
            // It stands as long as it is served: who is served says nothing about who waits.
            #expect(state.isOverloaded)
            #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .hand(to: ids.removeFirst()))
            now += 30
        }
        #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .park)
        #expect(!state.isOverloaded)
    }

    @Test func `in a standing queue nobody is served in vain: the newest goes before those whose time is up`() {
        var (state, slot, ids, now) = standing(budget: 260)
        // Leases take 30 ms or more, and the oldest have hardly that left.
        #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .hand(to: ids.removeLast()))
        // It still stands: the newest has waited little, the oldest has not.
        for _ in 0..<2 { #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .hand(to: ids.removeLast())) }
        now += 110
        #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .hand(to: ids.removeLast()))
        #expect(state.isOverloaded)
        // That all give up is no sign of ease; that a connection finds nothing to do is one.
        for id in ids { _ = state.leave(id, now: at(now)) }
        #expect(state.isOverloaded)
        #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .park)
        #expect(!state.isOverloaded)
    }

    @Test(arguments: [false, true])
    func `two callers who waited at different times are no standing queue`(givesUp: Bool) {
        var state = experienced(max: 1)
        let slot = take(&state, at: at(0)) ?? -1
        // Each is alone in the queue, waits for longer than the target of 100 ms, and the queue is empty in between, also when its last one gives up.
        for step in 0..<20 {
            let id = state.enqueue(caller(.interactive, at: at(step * 300)), now: at(step * 300))
            if givesUp, step % 2 == 1 {
                #expect(state.leave(id, now: at(step * 300 + 150)) == true)
            } else {
                #expect(state.giveBack(slot, reusable: true, lost: false, now: at(step * 300 + 150)) == .hand(to: id))
            }
            #expect(!state.isOverloaded, "step \(step)")
        }
    }

    @Test func `background work that waits for its own limit does not make the pool overloaded`() {
        var state = experienced(max: 4, deadline: .milliseconds(100))
        let busy = (0..<3).compactMap { _ in take(&state, .background, at: at(0)) }
        #expect(busy.count == 3)
        var ids = (0..<40).map { state.enqueue(caller(.background, at: at($0), for: 60_000), now: at($0)) }
        for step in 0..<30 {
            let now = at(60 + step * 30)
            #expect(state.giveBack(busy[step % 3], reusable: true, lost: false, now: now) == .hand(to: ids.removeFirst()))
            // Who has somebody waiting for it finds the fourth connection free.
            let slot = take(&state, at: now)
            #expect(slot != nil)
            if let slot { #expect(state.giveBack(slot, reusable: true, lost: false, now: now + .milliseconds(10)) == .park) }
            #expect(!state.isOverloaded)
        }
    }

    @Test func `a flood of others leaves the critical class its room in the queue`() {
        let admission = Admission(deadline: .seconds(2), room: 100)
        let refusal = { (waitingInClass: Int) in
            admission.refusal(of: .critical, waiting: 150, waitingInClass: waitingInClass, estimate: .seconds(9), lease: .zero, remaining: .seconds(2))
        }
        #expect(refusal(0) == nil)
        #expect(refusal(99) == nil)
        #expect(refusal(100) == .queueFull)
    }

    @Test func `leases of the critical class and lost ones do not make others seem quick`() {
        var state = experienced(max: 4)
        for step in 0..<20 {
            guard let slot = take(&state, .critical, at: at(step)) else { continue }
            #expect(state.giveBack(slot, reusable: true, lost: false, now: at(step) + .microseconds(500)) == .park)
        }
        for _ in 0..<3 { #expect(take(&state, at: at(30)) != nil) }
        let slot = take(&state, at: at(30)) ?? -1
        #expect(state.giveBack(slot, reusable: false, lost: true, now: at(30)) == .close(.error))
        #expect(state.estimatedWait(of: .background, now: at(30))?.text == "33 ms")
    }

    @Test(arguments: [
        // Four leases of 100 ms end in turn: every 25 ms.
        (ages: [0, 30, 60, 90], free: 0, behind: 7, limit: 4, becomes: Duration?.some(.milliseconds(200))),
        (ages: [0, 0], free: 2, behind: 0, limit: 4, becomes: .milliseconds(25)),
        // Of four the class may have three: the fourth comes free for others.
        (ages: [0, 0, 0], free: 1, behind: 2, limit: 3, becomes: .milliseconds(100)),
        // One that is stuck for ten seconds counts for a hundredth.
        (ages: [10_000], free: 0, behind: 0, limit: 4, becomes: .seconds(10)),
        (ages: [], free: 0, behind: 0, limit: 4, becomes: nil),
    ])
    func `the wait is as many ends of leases as callers come before`(
        row: (ages: [Int], free: Int, behind: Int, limit: Int, becomes: Duration?)
    ) throws {
        var held = MovingAverage()
        for _ in 0..<7 { held.record(nanoseconds: 100_000_000) }
        if WaitEstimate(held) != nil { Issue.record("too few to know") }
        held.record(nanoseconds: 100_000_000)
        var estimate = try #require(WaitEstimate(held))
        for age in row.ages { estimate.add(leaseOfAge: Int64(age) * 1_000_000) }
        estimate.add(free: row.free)
        let wait = estimate.wait(behind: row.behind, limit: row.limit)
        #expect(wait.map { ($0.seconds * 1_000).rounded() } == row.becomes.map { ($0.seconds * 1_000).rounded() })
    }
}
