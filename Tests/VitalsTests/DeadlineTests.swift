import TestServers
import Testing
import Vitals

@Suite struct DeadlineTests {
    @Test(arguments: [(caller: Int?.none, budget: 2_000, ends: 2_000), (500, 2_000, 500), (5_000, 2_000, 2_000)])
    func `what is called has its own budget, and never more than its caller`(_ row: (caller: Int?, budget: Int, ends: Int)) {
        let time = ManualTime()
        let now = time.now()
        let deadline = Deadline.$current.withValue(row.caller.map { Deadline(now + .milliseconds($0)) }) {
            time.deadline(within: .milliseconds(row.budget))
        }
        #expect(deadline == Deadline(now + .milliseconds(row.ends)))
    }
}
