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
        kept.keep(Array(text.utf8), for: key, of: reading ?? kept.begin(about: subject))
    }

    private func told(_ key: String = "overview 1") -> String? {
        kept.recall(key).map { String(decoding: $0.payload, as: UTF8.self) }
    }

    @Test func `an answer is as old as the read it comes from, and told no longer than the bound`() {
        let reading = kept.begin(about: "1")
        time.advance(by: .seconds(3))
        keep("a", of: reading)
        #expect(kept.recall("overview 1")?.age == .seconds(3))
        time.advance(by: .seconds(56))
        #expect(told() == "a")
        time.advance(by: .seconds(1))
        #expect(told() == nil)
    }

    @Test func `a slow read does not replace what a later one found`() {
        let slow = kept.begin(about: "1")
        keep("new")
        keep("old", of: slow)
        #expect(told() == "new")
    }

    @Test func `what is written makes all answers about it unfit, those on their way included`() {
        keep("overview")
        keep("list", for: "snapshots 1 50")
        keep("other", for: "overview 2", about: "2")
        let onItsWay = kept.begin(about: "1")
        kept.wrote(about: "1")
        keep("late", of: onItsWay)
        #expect(told() == nil && told("snapshots 1 50") == nil)
        #expect(told("overview 2") == "other")
        keep("after")
        #expect(told() == "after")
    }

    @Test func `more written subjects than are remembered leave nothing to be believed`() {
        keep("a")
        let onItsWay = kept.begin(about: "1")
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
        kept.forget(about: "1")
        #expect((0..<100).allSatisfy { told("k\($0)") == nil })
    }

    @Test func `what a later read found to be gone is not brought back by a slow one`() {
        let slow = kept.begin(about: "1")
        let other = kept.begin(about: "2")
        kept.forget(about: "1")
        keep("late", of: slow)
        keep("late", for: "overview 2", of: other)
        #expect(told() == nil && told("overview 2") == "late")
        keep("after")
        #expect(told() == "after")
    }

    @Test func `when a subject is gone, all that is kept about it is`() {
        keep("overview")
        keep("list", for: "snapshots 1 50")
        keep("other", for: "overview 2", about: "2")
        kept.forget(about: "1")
        #expect(told() == nil && told("snapshots 1 50") == nil && told("overview 2") == "other")
        time.advance(by: .seconds(59))
        #expect(told("snapshots 1 50") == nil)
    }

    @Test func `who asks for what never existed makes nothing else unfit`() {
        kept.wrote(about: "written")
        keep("a")
        let old = kept.begin(about: "written")
        kept.wrote(about: "written")
        for number in 0...MemoryTier.floorLimit { kept.forget(about: "u\(number)") }
        keep("before the write", for: "overview written", of: old)
        #expect(told() == "a" && told("overview written") == nil)
    }

    @Test func `a read that is over is not kept any more`() {
        let reading = kept.begin(about: "1")
        kept.end(reading)
        keep("late", of: reading)
        #expect(told() == nil)
    }
}
