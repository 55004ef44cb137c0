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
        (workClass: WorkClass.interactive, waiting: 100, estimate: Duration?.none, remaining: Duration.seconds(2), becomes: ShedReason?.some(.queueFull)),
        (.interactive, 99, nil, .seconds(2), nil),
        (.background, 50, nil, .seconds(2), .queueFull),
        (.background, 49, nil, .seconds(2), nil),
        (.interactive, 0, nil, .zero, .tooLate),
        (.interactive, 5, .milliseconds(2_001), .seconds(2), .tooLate),
        (.interactive, 5, .seconds(2), .seconds(2), nil),
        // The critical class is never refused for a guess.
        (.critical, 5, .seconds(60), .seconds(2), nil),
        (.critical, 100, nil, .seconds(2), .queueFull),
    ])
    func `P4: nobody queues who will not be served in time`(
        row: (workClass: WorkClass, waiting: Int, estimate: Duration?, remaining: Duration, becomes: ShedReason?)
    ) {
        let admission = Admission(deadline: .seconds(2), room: 100)
        let reason = admission.refusal(
            of: row.workClass, waiting: row.waiting, waitingInClass: row.waiting, estimate: row.estimate, remaining: row.remaining)
        #expect(reason == row.becomes)
    }

    @Test func `a queue is standing when nobody was served quickly for a whole interval, and no longer when it has drained`() {
        var admission = Admission(deadline: .seconds(2), room: 100)
        #expect(admission.target == .milliseconds(100) && admission.interval == .milliseconds(500))
        // A burst that drains: one caller in each interval is served quickly.
        for step in 0..<40 { admission.served(afterWaiting: .milliseconds(step % 5 == 0 ? 20 : 400), now: at(step * 50)) }
        #expect(!admission.isOverloaded)
        for step in 40..<62 { admission.served(afterWaiting: .milliseconds(300), now: at(step * 50)) }
        #expect(admission.isOverloaded)
        let refusal = { (estimate: Int) in
            admission.refusal(of: .interactive, waiting: 5, waitingInClass: 5, estimate: .milliseconds(estimate), remaining: .seconds(2))
        }
        #expect(refusal(201) == .overload)
        #expect(refusal(200) == nil)
        admission.lineEmptied()
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

    @Test func `the more urgent class is served first, each in order of arrival`() {
        var state = experienced(max: 1)
        let slot = take(&state, at: at(0)) ?? -1
        let order: [WorkClass] = [.background, .interactive, .critical, .background, .interactive, .critical]
        let ids = order.enumerated().map { state.enqueue(caller($1, at: at($0)), now: at($0)) }
        let served = (0..<6).map { step -> PoolState.GiveBack in state.giveBack(slot, reusable: true, lost: false, now: at(10 + step)) }
        #expect(served == [2, 5, 1, 4, 0, 3].map { PoolState.GiveBack.hand(to: ids[$0]) })
    }

    @Test func `background work leaves a quarter to those somebody waits for`() {
        var state = experienced(max: 4)
        for _ in 0..<3 { #expect(take(&state, .background, at: at(0)) != nil) }
        #expect(take(&state, .background, at: at(1)) == nil)
        let waiting = state.enqueue(caller(.background, at: at(1)), now: at(1))
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

    @Test func `in overload the newest is served first, and order of arrival returns when the queue has drained`() {
        var state = experienced(max: 1, deadline: .milliseconds(100))
        let slot = take(&state, at: at(0)) ?? -1
        var ids = (0..<40).map { state.enqueue(caller(.interactive, at: at($0)), now: at($0)) }
        // Everybody waits longer than the target of 5 ms; after two intervals of 100 ms the queue is known to stand.
        var now = 60
        while !state.isOverloaded, !ids.isEmpty {
            #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .hand(to: ids.removeFirst()))
            now += 30
        }
        #expect(state.isOverloaded)
        #expect(state.giveBack(slot, reusable: true, lost: false, now: at(now)) == .hand(to: ids.removeLast()))
        #expect(reason(state.checkout(caller(.interactive, at: at(now), for: 100_000), now: at(now))) == .overload)
        for id in ids { _ = state.leave(id, now: at(now)) }
        #expect(!state.isOverloaded)
    }
}
