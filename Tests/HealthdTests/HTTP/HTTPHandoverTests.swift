import TestServers
import Testing
import Vitals

@testable import healthd

@Suite struct `Handover to one client` {
    @Test func `pieces arrive in order, and nil when it is closed`() async {
        let handover = Handover()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for number in 0..<100 { #expect(await handover.put([UInt8(number)])) }
                handover.close()
            }
            var taken: [UInt8] = []
            while let piece = await handover.take() { taken += piece }
            #expect(taken == Array(0..<100))
        }
        #expect(await handover.put([1]) == false)
        #expect(await handover.take() == nil)
    }

    @Test func `there is room for one`() async {
        let handover = Handover()
        #expect(handover.offer([1]))
        #expect(!handover.offer([2]))
        #expect(await handover.take() == [1])
        #expect(handover.offer([3]))
        handover.close()
        // One that lies there is still taken.
        #expect(await handover.take() == [3])
        #expect(await handover.take() == nil)
    }

    @Test func `closing lets both sides go`() async {
        let full = Handover()
        let empty = Handover()
        #expect(full.offer([1]))
        async let put = full.put([2])
        async let taken = empty.take()
        full.close()
        empty.close()
        #expect(await put == false)
        #expect(await taken == nil)
    }

    @Test(arguments: [false, true])
    func `only a client that takes nothing over two beats is hung up on`(reads: Bool) async throws {
        let handover = Handover()
        let time = ManualTime()
        let hangUps = Counter()
        #expect(handover.offer([0]))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await EventStream.keepAlive(handover, time: time) { hangUps.add() } }
            for beat in 1...2 {
                try await time.untilAsleep()
                #expect(hangUps.value == 0)
                if reads {
                    // Always full, always moving: a busy stream.
                    _ = await handover.take()
                    #expect(handover.offer([UInt8(beat)]))
                }
                time.advance(by: EventStream.heartbeat)
            }
            if reads {
                try await time.untilAsleep()
                group.cancelAll()
            }
        }
        #expect(hangUps.value == (reads ? 0 : 1))
    }

    @Test func `cancelling either side closes it`() async {
        let handover = Handover()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { #expect(await handover.take() == nil) }
            group.cancelAll()
        }
        #expect(await handover.put([1]) == false)
    }
}
