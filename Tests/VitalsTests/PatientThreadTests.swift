import Dispatch
import TestServers
import Testing

@testable import Vitals

@Suite struct PatientThreadTests {
    private struct Wrong: Error {}

    @Test func `gives what the work gives, and throws what it throws`() throws {
        let thread = PatientThread("test", patience: .seconds(60))
        #expect(try thread.run { 7 } == 7)
        #expect(throws: Wrong.self) { try thread.run { throw Wrong() } }
        #expect(try thread.run { 8 } == 8)
    }

    @Test func `A: gives up what does not end, begins nothing else before it has ended, and goes on then`() async throws {
        let thread = PatientThread("test", patience: .milliseconds(500))
        let (gate, begun) = (DispatchSemaphore(value: 0), Counter())
        #expect(throws: PatientThread.Hangs.self) { try thread.run { gate.wait() } }
        #expect(throws: PatientThread.Hangs.self) { try thread.run { begun.add() } }
        #expect(begun.value == 0)
        gate.signal()
        try await until("it is free") { (try? thread.run { begun.add() }) != nil }
        #expect(begun.value > 0)
    }
}
