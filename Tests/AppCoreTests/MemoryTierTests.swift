import Testing
import Vitals

@testable import AppCore

private struct Note: CacheableValue, Hashable {
    var version: Int
    var text = ""
}

struct `The memory tier` {
    private let now = MonotonicInstant(nanoseconds: 1_000_000_000_000)
    private let minute = Duration.seconds(60)

    private func version(_ lookup: MemoryTier.Lookup) -> Int? {
        switch lookup {
        case .fresh(let entry, _), .expired(let entry): entry.value.version
        case .absent: nil
        }
    }

    @Test func `drops the least recently used beyond its bytes`() {
        let each = 100 + 1 + MemoryTier.overhead
        var tier = MemoryTier(limit: each * 3)
        for key in ["a", "b", "c"] { _ = tier.keep(Note(version: 1), for: key, size: 100, loadedAt: now, lifetime: minute, now: now) }
        _ = tier.look(for: "a", at: now)
        _ = tier.keep(Note(version: 1), for: "d", size: 100, loadedAt: now, lifetime: minute, now: now)
        #expect(version(tier.look(for: "b", at: now)) == nil)
        #expect(["a", "c", "d"].allSatisfy { version(tier.look(for: $0, at: now)) == 1 })
        #expect(tier.bytes == each * 3 && tier.count == 3 && tier.evictions == 1)
    }

    @Test func `keeps its bytes and its order through many changes`() {
        var tier = MemoryTier(limit: 20_000)
        var generator = SplitMix64(seed: 7)
        for step in 0..<5_000 {
            let key = "k\(generator.index(below: 100))"
            switch generator.index(below: 3) {
            case 0: tier.remove(key)
            case 1: _ = tier.look(for: key, at: now)
            default: _ = tier.keep(Note(version: step), for: key, size: generator.index(below: 900), loadedAt: now, lifetime: minute, now: now)
            }
            #expect(tier.bytes <= 20_000 && tier.bytes >= 0)
        }
        for key in 0..<100 { tier.remove("k\(key)") }
        #expect(tier.bytes == 0 && tier.count == 0)
    }

    @Test func `a value larger than the tier is not kept, and pushes nothing out`() {
        var tier = MemoryTier(limit: 1_000)
        _ = tier.keep(Note(version: 1), for: "a", size: 10, loadedAt: now, lifetime: minute, now: now)
        #expect(tier.keep(Note(version: 1), for: "big", size: 5_000, loadedAt: now, lifetime: minute, now: now) == true)
        #expect(version(tier.look(for: "a", at: now)) == 1 && version(tier.look(for: "big", at: now)) == nil)
    }

    @Test func `an older version never replaces a newer`() {
        var tier = MemoryTier(limit: 10_000)
        #expect(tier.keep(Note(version: 5), for: "a", size: 1, loadedAt: now, lifetime: minute, now: now) == true)
        #expect(tier.keep(Note(version: 4), for: "a", size: 1, loadedAt: now, lifetime: minute, now: now) == false)
        #expect(version(tier.look(for: "a", at: now)) == 5)
    }

    @Test func `an expired value gives way to an older one only when the primary says so`() {
        var tier = MemoryTier(limit: 10_000)
        let later = now + minute * 2
        #expect(tier.keep(Note(version: 5), for: "a", size: 1, loadedAt: now, lifetime: minute, now: now) == true)
        // A copy, or the answer of a standby that lags.
        #expect(tier.keep(Note(version: 4), for: "a", size: 1, loadedAt: later, lifetime: minute, now: later) == false)
        #expect(tier.keep(Note(version: 4), for: "a", size: 1, loadedAt: later, lifetime: minute, asked: later, now: later) == true)
        #expect(version(tier.look(for: "a", at: later)) == 4)
    }

    @Test func `a floor outlives the value it came with, until old copies have expired`() {
        var tier = MemoryTier(limit: 10_000)
        tier.raiseFloor(for: "a", to: 5, until: now + minute, now: now)
        tier.remove("a")
        #expect(tier.keep(Note(version: 4), for: "a", size: 1, loadedAt: now + .seconds(59), lifetime: minute, now: now + .seconds(59)) == false)
        #expect(tier.keep(Note(version: 5), for: "a", size: 1, loadedAt: now, lifetime: minute, now: now) == true)
        tier.remove("a")
        #expect(tier.keep(Note(version: 4), for: "a", size: 1, loadedAt: now + minute, lifetime: minute, now: now + minute) == true)
    }

    @Test func `a floor never falls while it lasts, though an older write is told of later`() {
        var tier = MemoryTier(limit: 10_000)
        tier.raiseFloor(for: "a", to: 5, until: now + minute, now: now)
        tier.raiseFloor(for: "a", to: 4, until: now + minute * 2, now: now)
        #expect(tier.floor(for: "a", at: now) == 5 && tier.newestVersion(for: "a", at: now) == 5)
        #expect(tier.keep(Note(version: 4), for: "a", size: 1, loadedAt: now, lifetime: minute, now: now) == false)
        // As long as the later of the two asks for.
        #expect(tier.floor(for: "a", at: now + .seconds(90)) == 5)
    }

    @Test func `a floor never ends sooner, though a newer version asks for less`() {
        var tier = MemoryTier(limit: 10_000)
        tier.raiseFloor(for: "a", to: 5, until: now + minute * 2, now: now)
        tier.raiseFloor(for: "a", to: 6, until: now + minute, now: now)
        #expect(tier.floor(for: "a", at: now + .seconds(90)) == 6)
        // One that is over leaves nothing behind.
        tier.raiseFloor(for: "a", to: 4, until: now + minute * 3, now: now + minute * 2)
        #expect(tier.floor(for: "a", at: now + .seconds(150)) == 4)
    }

    @Test func `more floors than are kept are admitted to be lost`() {
        var tier = MemoryTier(limit: 10_000)
        for key in 0..<MemoryTier.floorLimit { tier.raiseFloor(for: "\(key)", to: 1, until: now + minute, now: now) }
        #expect(tier.floorsLostUntil == nil)
        tier.raiseFloor(for: "one more", to: 1, until: now + minute, now: now)
        #expect(tier.floorsLostUntil == now + minute)
    }

    @Test func `is fresh, then due for refresh, then expired`() throws {
        var tier = MemoryTier(limit: 10_000)
        _ = tier.keep(Note(version: 1), for: "a", size: 1, loadedAt: now, lifetime: .seconds(100), now: now)
        guard case .fresh(_, refresh: false) = tier.look(for: "a", at: now + .seconds(79)) else { throw Unexpected() }
        guard case .fresh(_, refresh: true) = tier.look(for: "a", at: now + .seconds(80)) else { throw Unexpected() }
        guard case .expired = tier.look(for: "a", at: now + .seconds(100)) else { throw Unexpected() }
    }

    @Test func `a value whose refresh failed is due again when it may be retried`() throws {
        var tier = MemoryTier(limit: 10_000)
        _ = tier.keep(Note(version: 1), for: "a", size: 1, loadedAt: now, lifetime: .seconds(100), now: now)
        tier.loadFailed(for: "a", retry: now + .seconds(86))
        guard case .fresh(_, refresh: false) = tier.look(for: "a", at: now + .seconds(85)) else { throw Unexpected() }
        guard case .fresh(_, refresh: true) = tier.look(for: "a", at: now + .seconds(86)) else { throw Unexpected() }
        // A failure of long ago puts nothing off.
        tier.loadFailed(for: "a", retry: now + .seconds(10))
        guard case .fresh(_, refresh: false) = tier.look(for: "a", at: now + .seconds(85)) else { throw Unexpected() }
    }

    private struct Unexpected: Error {}
}
