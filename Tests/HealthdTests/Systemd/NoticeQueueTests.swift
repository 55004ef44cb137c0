import Testing
import Vitals

@testable import healthd

private func at(_ seconds: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: seconds * 1_000_000_000) }

extension NoticeQueue {
    fileprivate mutating func take(now: MonotonicInstant) -> [String] {
        var texts: [String] = []
        while let notice = next(now: now) { texts.append(notice.text) }
        return texts
    }
}

@Suite struct `Notices that wait` {
    private typealias Step = (kind: NoticeQueue.Kind, text: String)

    @Test(
        arguments: [
            ([(.status, "s1"), (.ready, "READY")], ["s1", "READY"]),
            // Of each kind the latest, where it was given.
            ([(.status, "s1"), (.ready, "READY"), (.status, "s2")], ["READY", "s2"]),
            ([(.ready, "1"), (.reloading, "2"), (.ready, "3"), (.reloading, "4"), (.ready, "5")], ["4", "5"]),
            // A reload that is not over stays so, and is over when READY comes.
            ([(.ready, "1"), (.reloading, "2")], ["1", "2"]),
            ([(.reloading, "1"), (.ready, "2"), (.stopping, "3"), (.status, "4")], ["1", "2", "3", "4"]),
            ([(.status, "stalled"), (.trigger, "t")], ["stalled", "t"]),
            ([(.ping, "p1"), (.ping, "p2")], ["p2"]),
        ] as [([(kind: NoticeQueue.Kind, text: String)], [String])])
    func `are sent in order, none of them twice`(steps: [(kind: NoticeQueue.Kind, text: String)], sent: [String]) {
        var queue = NoticeQueue(pingLifetime: .seconds(1))
        for step in steps { queue.add(step.kind, step.text, now: at(0)) }
        #expect(queue.take(now: at(0)) == sent)
        #expect(queue.isEmpty)
    }

    @Test func `are never more than there are kinds`() {
        var queue = NoticeQueue(pingLifetime: .seconds(1))
        for _ in 0..<1_000 {
            for kind in NoticeQueue.Kind.allCases { queue.add(kind, "\(kind)", now: at(0)) }
        }
        #expect(queue.take(now: at(0)).count == NoticeQueue.Kind.allCases.count)
    }

    @Test func `lose a ping that is not true any more`() {
        var queue = NoticeQueue(pingLifetime: .seconds(5))
        queue.add(.ping, "p", now: at(0))
        queue.add(.ready, "READY", now: at(0))
        #expect(queue.take(now: at(6)) == ["READY"])
        queue.add(.ping, "p", now: at(6))
        #expect(queue.take(now: at(11)) == ["p"])
        queue.add(.ping, "p", now: at(11))
        queue.withdraw(.ping)
        #expect(queue.isEmpty)
    }

    @Test func `take the place of one of their kind, and of no other`() {
        var queue = NoticeQueue(pingLifetime: .seconds(5))
        queue.add(.ping, "p", now: at(0))
        queue.add(.ping, "q", now: at(1))
        queue.add(.status, "s", now: at(1))
        #expect([queue.next(now: at(1))?.text, queue.next(now: at(1))?.text, queue.next(now: at(1))?.text] == ["q", "s", nil])
    }
}
