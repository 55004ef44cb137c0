import Testing
import Vitals

@testable import AppCore

struct `The last good answers` {
    private let time = ManualTime()
    private let kept: LastGood

    init() {
        kept = LastGood(bytes: 10_000, stale: .seconds(60), time: time)
    }

    private func keep(_ text: String, for key: String = "overview 1", about subject: String = "1", of reading: LastGood.Reading? = nil) {
        kept.keep(Array(text.utf8), for: key, about: subject, of: reading ?? kept.begin())
    }

    private func told(_ key: String = "overview 1") -> String? {
        kept.recall(key).map { String(decoding: $0.payload, as: UTF8.self) }
    }

    @Test func `an answer is as old as the read it comes from, and told no longer than the bound`() {
        let reading = kept.begin()
        time.advance(by: .seconds(3))
        keep("a", of: reading)
        #expect(kept.recall("overview 1")?.age == .seconds(3))
        time.advance(by: .seconds(56))
        #expect(told() == "a")
        time.advance(by: .seconds(1))
        #expect(told() == nil)
    }

    @Test func `a slow read does not replace what a later one found`() {
        let slow = kept.begin()
        keep("new")
        keep("old", of: slow)
        #expect(told() == "new")
    }

    @Test func `what is written makes all answers about it unfit, those on their way included`() {
        keep("overview")
        keep("list", for: "snapshots 1 50")
        keep("other", for: "overview 2", about: "2")
        let onItsWay = kept.begin()
        kept.wrote(about: "1")
        keep("late", of: onItsWay)
        #expect(told() == nil && told("snapshots 1 50") == nil)
        #expect(told("overview 2") == "other")
        keep("after")
        #expect(told() == "after")
    }

    @Test func `more written subjects than are remembered leave nothing to be believed`() {
        keep("a")
        let onItsWay = kept.begin()
        for number in 0...MemoryTier.floorLimit { kept.wrote(about: "w\(number)") }
        #expect(told() == nil)
        keep("late", of: onItsWay)
        #expect(told() == nil)
        keep("after")
        #expect(told() == "after")
    }

    @Test func `after a failed read the answer rests for a moment`() {
        keep("a")
        #expect(kept.recall("overview 1")?.isResting == false)
        kept.failed("overview 1")
        #expect(kept.recall("overview 1")?.isResting == true)
        time.advance(by: LastGood.rest)
        #expect(kept.recall("overview 1")?.isResting == false)
        kept.failed("never read")
        #expect(told("never read") == nil)
    }

    @Test func `holds no more bytes than it may, and forgets what is gone`() {
        for number in 0..<100 { keep(String(repeating: "x", count: 500), for: "k\(number)") }
        let found = (0..<100).count { told("k\($0)") != nil }
        #expect((1...10_000 / 500).contains(found), "\(found)")
        kept.forget("k99")
        #expect(told("k99") == nil)
    }
}
