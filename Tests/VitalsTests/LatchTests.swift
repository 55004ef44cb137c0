import Dispatch
import Testing

@testable import Vitals

@Suite struct LatchTests {
    @Test func `who waits goes on when it is opened, and gives up when it is not`() {
        let (closed, open, opening) = (Latch(), Latch(), Latch())
        open.open()
        #expect(!closed.wait(within: .milliseconds(20)))
        #expect(open.wait(within: .zero))
        DispatchQueue(label: "test").async { opening.open() }
        #expect(opening.wait(within: .seconds(60)))
        #expect(opening.wait(within: .zero), "it stays open")
    }
}
