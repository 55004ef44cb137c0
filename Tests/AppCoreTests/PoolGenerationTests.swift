import Testing
import Vitals

@testable import AppCore

/// When all connections are to go, as a value.
@Suite("PoolGeneration")
struct PoolGenerationTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)
    private let primary = ServerIdentity(system: "1", isInRecovery: false)
    private let standby = ServerIdentity(system: "1", isInRecovery: true)

    private func at(_ milliseconds: Int) -> MonotonicInstant { start + .milliseconds(milliseconds) }

    @Test func `a connection that stands when its server has been left is closed, and the next serves`() {
        let site = CallSite(file: #fileID, line: 1)
        var state = PoolState(configuration: PoolConfiguration(max: 2, min: 2), now: at(0))
        let id = state.enqueue(
            Caller(purpose: "test", workClass: .interactive, site: site, since: at(0), deadline: Deadline(at(2_000))), now: at(0))
        #expect(state.connectsDue(now: at(0)) == [0, 1])
        #expect(state.admit(0, primary, now: at(1)).isEmpty)
        #expect(state.admit(1, standby, now: at(2)).isEmpty)
        #expect(state.connected(0, now: at(3)) == .close(.failover))
        #expect(state.connected(1, now: at(3)) == .hand(to: id))
        #expect(state.counts().connecting == 0 && state.counts().leased == 1)
    }

    @Test func `a connection that was being cleared when its server was left is closed, however well that went`() {
        let site = CallSite(file: #fileID, line: 1)
        let caller = Caller(purpose: "test", workClass: .interactive, site: site, since: at(0), deadline: Deadline(at(2_000)))
        var state = PoolState(configuration: PoolConfiguration(max: 2, min: 2), now: at(0))
        for slot in state.connectsDue(now: at(0)) {
            #expect(state.admit(slot, primary, now: at(1)).isEmpty)
            #expect(state.connected(slot, now: at(1)) == .park)
        }
        guard case .lease(let cleared) = state.checkout(caller, now: at(2)), case .lease(let other) = state.checkout(caller, now: at(2)) else {
            Issue.record("two connections stand, and two were asked for")
            return
        }
        #expect(state.giveBack(cleared, reusable: false, lost: false, now: at(3)) == .recover)
        #expect(state.demoted(other, now: at(4)).isEmpty)
        #expect(state.recovered(cleared, usable: true, now: at(5)) == .close(.failover))
        #expect(state.counts().retiring == 0)
    }

    @Test func `another server ends a generation, the same one does not`() {
        var generation = PoolGeneration()
        let numbers = [primary, primary, nil, standby, standby].enumerated().map { generation.admit($1, now: at($0)) }
        #expect(numbers == [0, 0, 0, 1, 1])
        #expect(generation.number == 1)
    }

    @Test func `a name that leads to a different server each time ends one generation a second at most`() {
        var generation = PoolGeneration()
        for turn in 0..<300 { _ = generation.admit(turn.isMultiple(of: 2) ? primary : standby, now: at(turn * 10)) }
        #expect((2...4).contains(generation.number))
    }

    @Test func `a server found too early is moved to when the time has come`() {
        var generation = PoolGeneration()
        let numbers = [(primary, 0), (standby, 10), (primary, 20), (standby, 30)].map { generation.admit($0, now: at($1)) }
        #expect(numbers == [0, 1, 2, 1])
        generation.leaveIfDue(now: at(900))
        #expect(generation.number == 1)
        generation.leaveIfDue(now: at(1_010))
        #expect(generation.number == 2)
    }

    @Test func `of several servers found too early the last is moved to, and the connections of the others go`() {
        var generation = PoolGeneration()
        let another = ServerIdentity(system: "2", isInRecovery: false)
        let numbers = [(primary, 0), (standby, 10), (primary, 20), (another, 30), (another, 40)].map { generation.admit($0, now: at($1)) }
        #expect(numbers == [0, 1, 2, 3, 3])
        generation.leaveIfDue(now: at(1_010))
        #expect(generation.number == 3)
    }

    @Test func `a generation is ended once, however many of its connections say so`() {
        var generation = PoolGeneration()
        _ = generation.admit(primary, now: at(0))
        let ends = [generation.end(0, now: at(1)), generation.end(0, now: at(2))]
        #expect(ends == [true, false])
        // The next connection says which server it is; that alone ends nothing.
        let next = generation.admit(standby, now: at(3))
        #expect(next == 1 && generation.number == 1)
    }

    @Test func `P9: the idle ones go at once, the leased ones when they come back, without a pause between`() {
        var state = PoolState(configuration: PoolConfiguration(max: 4, min: 4, reserved: 0), now: start)
        for slot in state.connectsDue(now: start) {
            let closing = state.admit(slot, primary, now: start)
            #expect(closing.isEmpty)
            _ = state.connected(slot, now: start)
        }
        let caller = Caller(purpose: "test", site: CallSite(file: #fileID, line: 1), since: at(1), deadline: .never)
        for _ in 0..<2 { _ = state.checkout(caller, now: at(1)) }
        let closing = state.demoted(3, now: at(2))
        #expect(closing == [0, 1])
        let returned = [
            state.giveBack(3, reusable: false, lost: true, now: at(2)), state.giveBack(2, reusable: true, lost: false, now: at(2)),
        ]
        #expect(returned == [.close(.failover), .close(.failover)])
        #expect(state.total == 0)
    }
}
