import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

@Suite("Readings that are shared")
struct SharedReadsTests {
    private struct Refused: Error {}

    /// A reading that a test ends.
    private final class Reading: Sendable {
        let begun = Counter()
        private let isEnded = Flag()

        func end() { isEnded.set() }

        func value() async throws -> Int {
            begun.add()
            let number = begun.value
            try await until("the reading may end") { isEnded.isSet }
            return number
        }
    }

    @Test func `all who ask meanwhile get one reading, who asks later gets another`() async throws {
        let reads = SharedReads<String, Int>(time: SystemTime())
        let reading = Reading()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<50 { group.addTask { try await reads.value(for: "a") { try await reading.value() } } }
            try await until("somebody reads") { reading.begun.value > 0 }
            // However many have asked by now: nobody else has begun.
            for _ in 0..<1_000 { await Task.yield() }
            #expect(reading.begun.value == 1)
            reading.end()
            for try await value in group { #expect(value >= 1) }
        }
        let before = reading.begun.value
        #expect(try await reads.value(for: "a") { try await reading.value() } == before + 1)
    }

    @Test func `what fails fails for all, and is tried anew by the next`() async throws {
        let reads = SharedReads<String, Int>(time: SystemTime())
        await #expect(throws: Refused.self) { _ = try await reads.value(for: "a") { throw Refused() } }
        #expect(try await reads.value(for: "a") { 1 } == 1)
    }

    @Test func `a reader that leaves is replaced by one of those who wait`() async throws {
        let reads = SharedReads<String, Int>(time: SystemTime())
        let reading = Reading()
        try await withThrowingTaskGroup(of: Int?.self) { group in
            group.addTask {
                await withTaskGroup(of: Void.self) { leaving in
                    leaving.addTask { _ = try? await reads.value(for: "a") { try await reading.value() } }
                    try? await until("the first reads") { reading.begun.value == 1 }
                    leaving.cancelAll()
                }
                return nil
            }
            try await until("the first reads") { reading.begun.value == 1 }
            group.addTask { try await reads.value(for: "a") { try await reading.value() } }
            try await until("the second reads") { reading.begun.value == 2 }
            reading.end()
            let values = try await group.reduce(into: [Int?]()) { $0.append($1) }
            #expect(values.contains(2))
        }
    }

    @Test func `a reader whose own time is over fails alone, and one of those who wait reads`() async throws {
        let time = ManualTime()
        let reads = SharedReads<String, Int>(time: time)
        let (begun, isOver) = (Counter(), Flag())
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await #expect(throws: Refused.self) {
                    try await Deadline.$current.withValue(Deadline(time.now() + .seconds(1))) {
                        try await reads.value(for: "a") {
                            begun.add()
                            try await until("its time is over") { isOver.isSet }
                            throw Refused()
                        }
                    }
                }
            }
            try await until("the first reads") { begun.value == 1 }
            group.addTask {
                let value = try await reads.value(for: "a") { 2 }
                #expect(value == 2)
            }
            // Long enough for it to wait with the first.
            for _ in 0..<1_000 { await Task.yield() }
            time.advance(by: .seconds(1))
            isOver.set()
            try await group.waitForAll()
        }
    }

    @Test func `a gate lets so many in at a time, and those who are cancelled not at all`() async throws {
        let gate = Gate(places: 2)
        // Who has come in, who came when there was no room, and who has left.
        let (entered, tooMany, passed) = (Counter(), Counter(), Counter())
        let isOpen = Flag()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    try await gate.pass {
                        entered.add()
                        if entered.value - passed.value > 2 { tooMany.add() }
                        try await until("the gate is open") { isOpen.isSet }
                        passed.add()
                    }
                }
            }
            try await until("two are in") { entered.value == 2 }
            await withTaskGroup(of: Void.self) { leaving in
                for _ in 0..<20 {
                    leaving.addTask {
                        await #expect(throws: CancellationError.self) { try await gate.pass { Issue.record("it was let in") } }
                    }
                }
                leaving.cancelAll()
            }
            isOpen.set()
            try await group.waitForAll()
        }
        #expect(passed.value == 20 && tooMany.value == 0)
        try await gate.pass { passed.add() }
        #expect(passed.value == 21)
    }
}

private final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}
