import Testing
import Vitals

@testable import AppCore

struct `A subscription` {
    private let task = AgentTask.sample()

    private func events(_ numbers: Int...) -> [TaskEvent] {
        numbers.map { TaskEvent(taskID: task.id, sequence: $0, kind: .stepStarted, payload: [:], at: WallTime(secondsSince1970: 0)) }
    }

    private func live(after sequence: Int, limit: Int = 8) -> TaskSubscription {
        let subscription = TaskSubscription(taskID: task.id, limit: limit)
        subscription.begin(after: sequence)
        subscription.replayed(through: sequence, isLast: true)
        return subscription
    }

    @Test func `passes live events on in order, once each, however they come`() async {
        let subscription = live(after: 3)
        _ = subscription.offer(events(5))
        _ = subscription.offer(events(3, 4))
        _ = subscription.offer(events(4, 5, 6))
        #expect(await subscription.take().map(\.sequence) == [4, 5, 6])
    }

    @Test func `stays with the rows while something was published that they did not bring`() {
        let subscription = TaskSubscription(taskID: task.id, limit: 8)
        subscription.begin(after: 0)
        _ = subscription.offer(events(7))
        subscription.replayed(through: 6, isLast: true)
        #expect(subscription.position == .replaying(after: 6))
        subscription.replayed(through: 7, isLast: true)
        #expect(subscription.position == .live)
    }

    @Test func `does not ask for rows for ever that were published and are gone`() {
        let subscription = TaskSubscription(taskID: task.id, limit: 8)
        subscription.begin(after: 0)
        _ = subscription.offer(events(7))
        subscription.replayed(through: 5, isLast: true)
        #expect(subscription.position == .replaying(after: 5))
        subscription.replayed(through: 5, isLast: true)
        #expect(subscription.lastSeenWhileLive == 5)
    }

    @Test func `goes back to the rows from the first that its reader has not taken`() async {
        let subscription = live(after: 3)
        _ = subscription.offer(events(4, 5))
        #expect(await subscription.take().map(\.sequence) == [4, 5])
        _ = subscription.offer(events(6, 7, 9))
        subscription.replayAgain()
        #expect(subscription.position == .replaying(after: 5))
        #expect(await subscription.take().isEmpty)
        subscription.replayed(through: 9, isLast: true)
        _ = subscription.offer(events(9, 10))
        #expect(await subscription.take().map(\.sequence) == [10])
        // Nobody has to be behind for that.
        subscription.replayAgain()
        #expect(subscription.position == .replaying(after: 10))
    }

    @Test func `a reader that waits is woken to go back to the rows`() async {
        let subscription = live(after: 0)
        async let taken = subscription.take()
        await Task.yield()
        subscription.replayAgain()
        #expect(await taken.isEmpty)
    }

    @Test func `one that was ended before it began stays ended`() {
        let subscription = TaskSubscription(taskID: task.id, limit: 8)
        subscription.end()
        subscription.begin(after: 3)
        subscription.replayAgain()
        #expect(subscription.position == .ended)
    }

    @Test func `ends when its reader is slow, and says how much was lost`() async {
        let subscription = live(after: 0, limit: 3)
        #expect(subscription.offer(events(1, 2, 3)).backlog == 3)
        #expect(subscription.offer(events(4)).dropped == 4)
        #expect(subscription.position == .ended)
        #expect(await subscription.take().isEmpty)
        #expect(subscription.offer(events(5)).dropped == 0)
    }

    @Test func `early events count against the bound, too`() {
        let subscription = live(after: 0, limit: 3)
        #expect(subscription.offer(events(3, 4, 5, 6)).dropped == 4)
    }

    @Test func `a waiting reader is woken by an event, by the end and by cancellation`() async {
        let first = live(after: 0)
        async let taken = first.take()
        _ = first.offer(events(1))
        #expect(await taken.map(\.sequence) == [1])
        let second = live(after: 0)
        async let ended = second.take()
        second.end()
        #expect(await ended.isEmpty)
        let third = live(after: 0)
        await withTaskGroup(of: Int.self) { group in
            group.addTask { await third.take().count }
            group.cancelAll()
            #expect(await group.next() == 0)
        }
    }

    @Test func `asks for no more rows after the final event`() {
        let subscription = live(after: 0)
        #expect(subscription.lastSeenWhileLive == 0)
        _ = subscription.offer([TaskEvent(taskID: task.id, sequence: 1, kind: .taskFailed, payload: [:], at: WallTime(secondsSince1970: 0))])
        #expect(subscription.lastSeenWhileLive == Int.max)
    }
}
