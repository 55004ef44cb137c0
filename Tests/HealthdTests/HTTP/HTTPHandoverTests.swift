import Testing

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

    @Test func `cancelling either side closes it`() async {
        let handover = Handover()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { #expect(await handover.take() == nil) }
            group.cancelAll()
        }
        #expect(await handover.put([1]) == false)
    }
}
