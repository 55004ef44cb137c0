import Testing
import Vitals

@testable import AppCore

/// Drives the pool's decisions as a value: one line an event, in orders that a running pool would only meet by chance.
@Suite("PoolState")
struct PoolStateTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)
    private let site = CallSite(file: #fileID, line: 1)

    private func state(max: Int = 2, min: Int = 0, waiters: Int = 10, lifetime: Duration = .zero) -> PoolState {
        PoolState(configuration: PoolConfiguration(max: max, min: min, lifetime: lifetime, waiters: waiters), now: start)
    }

    private func at(_ milliseconds: Int) -> MonotonicInstant { start + .milliseconds(milliseconds) }

    private func checkout(_ state: inout PoolState, at now: MonotonicInstant, deadline: Int = 2_000) -> PoolState.Checkout {
        state.checkout(caller(at: now, deadline: deadline), now: now)
    }

    private func caller(_ workClass: WorkClass = .interactive, at now: MonotonicInstant, deadline: Int = 2_000) -> Caller {
        Caller(purpose: "test", workClass: workClass, site: site, since: now, deadline: Deadline(at(deadline)))
    }

    @discardableResult
    private func wait(_ state: inout PoolState, at now: MonotonicInstant, deadline: Int = 2_000) -> Waiter {
        state.enqueue(caller(at: now, deadline: deadline), now: now)
    }

    /// Opens `count` connections, all idle.
    private func open(_ state: inout PoolState, _ count: Int, at now: MonotonicInstant) {
        for slot in 0..<count {
            let id = wait(&state, at: now)
            let due = state.connectsDue(now: now)
            #expect(due == [slot])
            #expect(state.connected(slot, now: now) == .hand(to: id))
        }
        for slot in 0..<count { #expect(state.giveBack(slot, reusable: true, lost: false, now: now) == .park) }
    }

    private func leased(_ checkout: PoolState.Checkout) -> Int? {
        if case .lease(let slot) = checkout { slot } else { nil }
    }

    private func refusal(_ checkout: PoolState.Checkout) -> PoolError? {
        if case .refuse(let error) = checkout { error } else { nil }
    }

    @Test func `hands a returned connection to the oldest waiter`() {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        #expect(leased(checkout(&state, at: at(1))) == 0)
        let ids = (1...3).map { wait(&state, at: at(1 + $0)) }
        for id in ids { #expect(state.giveBack(0, reusable: true, lost: false, now: at(10)) == .hand(to: id)) }
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(50)) == .park)
    }

    @Test func `leases the connection that was used last`() {
        var state = state(max: 2)
        open(&state, 2, at: at(0))
        #expect(leased(checkout(&state, at: at(1))) == 1)
        #expect(leased(checkout(&state, at: at(2))) == 0)
        #expect(state.giveBack(1, reusable: true, lost: false, now: at(3)) == .park)
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(4)) == .park)
        #expect(leased(checkout(&state, at: at(5))) == 0)
    }

    @Test func `a waiter that leaves is skipped and may leave only once`() {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        #expect(leased(checkout(&state, at: at(1))) == 0)
        let ids = (1...3).map { _ in wait(&state, at: at(1)) }
        let (first, second) = (state.leave(ids[1], now: at(2)), state.leave(ids[1], now: at(2)))
        #expect(first && !second)
        // Its place may be taken by another; the old name of the place still opens nothing.
        let newcomer = wait(&state, at: at(2))
        #expect(newcomer.position.place == ids[1].position.place)
        let third = state.leave(ids[1], now: at(2))
        #expect(!third)
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(3)) == .hand(to: ids[0]))
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(4)) == .hand(to: ids[2]))
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(5)) == .hand(to: newcomer))
    }

    @Test func `a timeout and a hand-off at the same instant serve the waiter once`() {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        _ = checkout(&state, at: at(1))
        let id = wait(&state, at: at(1), deadline: 100)
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(100)) == .hand(to: id))
        #expect(state.expire(now: at(100)).isEmpty)

        var other = self.state(max: 1)
        open(&other, 1, at: at(0))
        _ = checkout(&other, at: at(1))
        let late = wait(&other, at: at(1), deadline: 100)
        #expect(other.expire(now: at(100)) == [late])
        #expect(other.giveBack(0, reusable: true, lost: false, now: at(100)) == .park)
    }

    @Test func `refuses when the queue is full, with the numbers`() throws {
        var state = state(max: 1, waiters: 1)
        open(&state, 1, at: at(0))
        _ = checkout(&state, at: at(1))
        wait(&state, at: at(2))
        let error = try #require(refusal(checkout(&state, at: at(3))))
        guard case .saturated(let picture, _, _, .queueFull) = error else {
            Issue.record("expected saturated, got \(error)")
            return
        }
        #expect(picture.leased == 1 && picture.waiting == 1 && picture.max == 1)
        #expect(picture.oldestPurpose == "test")
    }

    @Test func `a caller whose deadline has passed is refused, not queued`() throws {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        _ = checkout(&state, at: at(1))
        #expect(refusal(checkout(&state, at: at(500), deadline: 500)) != nil)
    }

    @Test func `a failed connect fails all who wait, and newcomers at once`() throws {
        var state = state()
        var generator = SplitMix64(seed: 1)
        let ids = (1...2).map { _ in wait(&state, at: at(0)) }
        #expect(state.connectsDue(now: at(0)) == [0])
        #expect(state.connectFailed(0, cause: "connection refused", now: at(1), using: &generator) == ids)
        let error = try #require(refusal(checkout(&state, at: at(2))))
        guard case .databaseUnavailable(let cause, let since, _) = error else {
            Issue.record("expected databaseUnavailable, got \(error)")
            return
        }
        #expect(cause == "connection refused" && since == .milliseconds(1))
    }

    @Test func `while it is down exactly one attempt to connect is under way`() {
        var state = state(max: 10, min: 5)
        var generator = SplitMix64(seed: 1)
        let first = state.connectsDue(now: at(0))
        #expect(first.count == 4)
        for slot in first { _ = state.connectFailed(slot, cause: "refused", now: at(1), using: &generator) }
        #expect(state.connectsDue(now: at(5_000)).count == 1)
        #expect(state.connectsDue(now: at(5_000)).isEmpty)
    }

    @Test func `a failed connect beside a standing connection fails nobody`() {
        var state = state(max: 2)
        var generator = SplitMix64(seed: 1)
        open(&state, 1, at: at(0))
        #expect(leased(checkout(&state, at: at(1))) == 0)
        let id = wait(&state, at: at(2))
        #expect(state.connectsDue(now: at(2)) == [1])
        #expect(state.connectFailed(1, cause: "too many clients", now: at(3), using: &generator).isEmpty)
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(4)) == .hand(to: id))
    }

    @Test func `a burst of short work opens one connection at a time`() {
        var state = state(max: 20)
        open(&state, 5, at: at(0))
        for _ in 0..<5 { #expect(leased(checkout(&state, at: at(1))) != nil) }
        for _ in 1...45 { wait(&state, at: at(1)) }
        #expect(state.connectsDue(now: at(1)) == [5])
        #expect(state.connectsDue(now: at(2)).isEmpty)
    }

    @Test func `a lost connection is replaced for those who wait`() {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        _ = checkout(&state, at: at(1))
        let id = wait(&state, at: at(2))
        #expect(state.giveBack(0, reusable: false, lost: true, now: at(3)) == .close(.error))
        #expect(state.connectsDue(now: at(3)) == [0])
        #expect(state.connected(0, now: at(5)) == .hand(to: id))
    }

    @Test func `a connection with an open transaction is cleared before anyone gets it`() {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        _ = checkout(&state, at: at(1))
        let id = wait(&state, at: at(2))
        #expect(state.giveBack(0, reusable: false, lost: false, now: at(3)) == .recover)
        #expect(state.recovered(0, usable: true, now: at(4)) == .hand(to: id))
        #expect(state.giveBack(0, reusable: false, lost: false, now: at(5)) == .recover)
        #expect(state.recovered(0, usable: false, now: at(6)) == .close(.error))
        #expect(state.total == 0)
    }

    @Test func `losing an idle connection twice or while leased changes nothing`() {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        #expect(state.lostWhileIdle(0, now: at(1)) == true)
        #expect(state.lostWhileIdle(0, now: at(1)) == false)
        open(&state, 1, at: at(2))
        _ = checkout(&state, at: at(3))
        #expect(state.lostWhileIdle(0, now: at(4)) == false)
    }

    @Test func `idle connections beyond the minimum close after the idle timeout`() {
        var state = state(max: 3, min: 1)
        open(&state, 3, at: at(0))
        #expect(state.sweep(now: at(29_999)).isEmpty)
        #expect(state.sweep(now: at(30_000)).map(\.reason) == [.idle, .idle])
        #expect(state.total == 1)
        #expect(state.sweep(now: at(90_000)).isEmpty)
    }

    @Test func `connections retire at their lifetime, one in 250 ms at most, also when always busy`() {
        var state = state(max: 2, lifetime: .seconds(10))
        open(&state, 2, at: at(0))
        for _ in 0..<2 { _ = checkout(&state, at: at(1)) }
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(8_000)) == .park)
        _ = checkout(&state, at: at(8_001))
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(10_000)) == .close(.lifetime))
        // Too early for this one: nobody gets it any more, and it goes in its turn.
        #expect(state.giveBack(1, reusable: true, lost: false, now: at(10_001)) == .retire(at: at(10_250)))
        #expect(leased(checkout(&state, at: at(10_002))) == nil)
        #expect(state.retireNext(now: at(10_249)) == .init(slot: nil, again: at(10_250)))
        #expect(state.retireNext(now: at(10_250)) == .init(slot: 1, again: nil))
        #expect(state.total == 0)
    }

    @Test func `of those that wait for their turn the one that was due first goes first, and all of them when the pool ends`() throws {
        var retirements = Retirements(lifetime: .seconds(10), connections: 2)
        #expect(retirements.begin(now: at(0)) == true)
        #expect(retirements.begin(now: at(249)) == false)
        #expect(retirements.wait(5, end: at(-10), now: at(100)) == at(250))
        #expect(retirements.wait(6, end: at(-30), now: at(110)) == nil)
        #expect(retirements.wait(7, end: at(-20), now: at(120)) == nil)
        #expect(retirements.next(now: at(250)) == .init(slot: 6, again: at(500)))
        // Whoever is due now must not go before them.
        #expect(retirements.begin(now: at(600)) == false)
        #expect(retirements.next(now: at(600)) == .init(slot: 7, again: at(850)))
        #expect(retirements.clear() == [5])
        #expect(retirements.next(now: at(900)) == .init(slot: nil, again: nil))
        #expect(retirements.begin(now: at(900)) == true)
    }

    @Test(arguments: [(10, 1_000), (10, 100), (10, 1), (1_800, 20), (1_800, 1_000)])
    func `a large pool of short lifetimes has them all the same, and its ends apart`(seconds: Int, connections: Int) throws {
        let lifetime = Duration.seconds(seconds)
        let retirements = Retirements(lifetime: lifetime, connections: connections)
        var ends: [MonotonicInstant] = []
        for _ in 0..<connections { ends.append(retirements.end(from: at(0), others: ends)) }
        ends.sort()
        #expect(try #require(ends.first) >= at(0) + lifetime * 3 / 5 && ends.last ?? at(0) <= at(0) + lifetime)
        #expect(zip(ends, ends.dropFirst()).allSatisfy { $1 - $0 >= retirements.pause })
        #expect(retirements.pause <= .milliseconds(250) && retirements.pause * connections <= lifetime / 4)
    }

    @Test func `a shut down pool refuses everyone and closes what comes back`() {
        var state = state(max: 2)
        open(&state, 2, at: at(0))
        _ = checkout(&state, at: at(1))
        let ending = state.shutDown(now: at(2))
        #expect(ending.close == [0] && ending.refuse.isEmpty)
        guard case .refuse(.shuttingDown) = checkout(&state, at: at(3)) else {
            Issue.record("a stopped pool leased a connection")
            return
        }
        #expect(state.giveBack(1, reusable: true, lost: false, now: at(4)) == .close(.shutdown))
        #expect(state.total == 0)
    }

    @Test func `busy time is exact between samples`() {
        var state = state(max: 2)
        open(&state, 2, at: at(0))
        _ = checkout(&state, at: at(100))
        _ = checkout(&state, at: at(200))
        let id = wait(&state, at: at(250))
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(300)) == .hand(to: id))
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(400)) == .park)
        state.advance(to: at(500))
        // 100..400 one of them, 200..500 the other; none free from 200 to 400.
        #expect(state.tallies.busy == .milliseconds(600))
        #expect(state.tallies.exhausted == .milliseconds(200))
        #expect(state.tallies.peakWaiting == 1)
    }

    @Test func `who has a connection for longest is told first, and each number stands in its place`() {
        var state = state(max: 6)
        open(&state, 3, at: at(0))
        func take(_ purpose: Purpose, at now: MonotonicInstant) {
            let caller = Caller(purpose: purpose, workClass: .critical, site: site, since: now, deadline: Deadline(at(2_000)))
            let slot = leased(state.checkout(caller, now: now))
            #expect(slot != nil)
        }
        take("first", at: at(1))
        take("second", at: at(2))
        take("third", at: at(3))
        for _ in 0..<4 { wait(&state, at: at(4)) }
        let due = state.connectsDue(now: at(4))
        #expect(due.count == 1)

        #expect(state.leases.map(\.caller.purpose.name) == ["first", "second", "third"])
        #expect(state.oldestLease?.since == at(1))
        let picture = state.picture(now: at(11))
        #expect(picture.leased == 3 && picture.idle == 0 && picture.connecting == 1 && picture.waiting == 4 && picture.max == 6)
        #expect(picture.oldestPurpose == "first" && picture.oldestLease == .milliseconds(10))
    }

    @Test func `a long lease is suspected once`() {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        _ = checkout(&state, at: at(0))
        #expect(state.suspectedLeaks(now: at(3_999)).isEmpty)
        #expect(state.suspectedLeaks(now: at(4_000)).count == 1)
        #expect(state.suspectedLeaks(now: at(9_000)).isEmpty)
    }

    @Test func `each of two long leases of one connection is suspected`() {
        var state = state(max: 1)
        open(&state, 1, at: at(0))
        _ = checkout(&state, at: at(0))
        #expect(state.suspectedLeaks(now: at(4_000)).count == 1)
        // Handed on: whoever has it now has had it for no time.
        let id = wait(&state, at: at(4_500), deadline: 20_000)
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(5_000)) == .hand(to: id))
        #expect(state.suspectedLeaks(now: at(8_999)).isEmpty && state.suspect(0, now: at(8_999)) == nil)
        #expect(state.suspectedLeaks(now: at(9_000)).count == 1)
        // And from idle.
        #expect(state.giveBack(0, reusable: true, lost: false, now: at(9_500)) == .park)
        #expect(leased(checkout(&state, at: at(10_000), deadline: 20_000)) == 0)
        #expect(state.suspectedLeaks(now: at(13_999)).isEmpty)
        #expect(state.suspectedLeaks(now: at(14_000)).count == 1)
    }

    @Test func `counts stay whole under random events in any order`() {
        var generator = SplitMix64(seed: 42)
        var state = state(max: 4, min: 1, waiters: 8)
        var leases: Set<Int> = []
        var recovering: Set<Int> = []
        var connecting: Set<Int> = []
        var waiting: Set<Waiter> = []
        func apply(_ next: PoolState.NextStep, _ slot: Int) {
            switch next {
            case .hand(let id):
                #expect(waiting.remove(id) != nil, "served a waiter that does not wait")
                leases.insert(slot)
            case .recover: recovering.insert(slot)
            case .park, .close, .retire: break
            }
        }
        for step in 0..<20_000 {
            let now = at(step * 7)
            switch Int.random(in: 0..<9, using: &generator) {
            case 0, 1, 2:
                switch checkout(&state, at: now, deadline: step * 7 + Int.random(in: 0..<200, using: &generator)) {
                case .lease(let slot): #expect(leases.insert(slot).inserted, "one connection, two leases")
                case .wait(let waiter): waiting.insert(waiter)
                case .refuse: break
                }
            case 3, 4:
                guard let slot = leases.randomElement(using: &generator) else { continue }
                leases.remove(slot)
                apply(state.giveBack(slot, reusable: Bool.random(using: &generator), lost: Int.random(in: 0..<8, using: &generator) == 0, now: now), slot)
            case 5:
                for slot in state.connectsDue(now: now) { connecting.insert(slot) }
            case 6:
                guard let slot = connecting.popFirst() else { continue }
                if Bool.random(using: &generator) {
                    apply(state.connected(slot, now: now), slot)
                } else {
                    for id in state.connectFailed(slot, cause: "x", now: now, using: &generator) { waiting.remove(id) }
                }
            case 7:
                guard let slot = recovering.popFirst() else { continue }
                apply(state.recovered(slot, usable: Bool.random(using: &generator), now: now), slot)
            default:
                for id in state.expire(now: now) { #expect(waiting.remove(id) != nil) }
                if let id = waiting.randomElement(using: &generator) {
                    waiting.remove(id)
                    let left = state.leave(id, now: now)
                    #expect(left)
                }
                _ = state.sweep(now: now)
            }
            let counts = state.counts()
            #expect(counts.leased == leases.count && counts.recovering == recovering.count && counts.connecting == connecting.count)
            #expect(state.waiting == waiting.count)
            #expect(counts.idle == 0 || waiting.isEmpty, "a connection lies idle while somebody waits")
        }
    }
}
