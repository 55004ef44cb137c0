import AppCore
import Logging
import Probes
import TestServers
import Testing
import Vitals

@testable import healthd

/// What is judged of the cache: the share of hits among the lookups of the last minute.
@Suite struct `How often the cache has it` {
    private struct Note: CacheableValue {
        var version = 1
    }

    private let time = ManualTime()
    private let cache: TieredCache
    private let probe: Probe

    init() {
        cache = TieredCache(redis: nil, time: time, logger: .quiet)
        probe = CacheWatch.probe(cache, interval: .seconds(1), timeout: .seconds(1), time: time)
    }

    /// One lookup of each: the first of a number finds nothing, the others do.
    private func ask(_ numbers: Range<Int>) async throws {
        for number in numbers { _ = try await cache.value(for: "\(number)") { Note() } }
    }

    @Test func `is the share of the hits`() async throws {
        for _ in 1...4 { try await ask(0..<6) }
        #expect(try await probe.measure().values == ["lookups": 24, "hit-ratio": 0.75])
    }

    @Test func `is that of the last minute, and none when fewer asked than say anything`() async throws {
        for _ in 1...4 { try await ask(0..<6) }
        _ = try await probe.measure()
        time.advance(by: .seconds(30))
        try await ask(100..<120)
        #expect(try await probe.measure().values == ["lookups": 20, "hit-ratio": 0])
        // The first look is more than a minute old, the second is not.
        time.advance(by: .seconds(31))
        try await ask(0..<6)
        #expect(try await probe.measure().values == ["lookups": 6])
    }

    @Test func `is that since the last look, when looks are further apart than a minute`() async throws {
        for _ in 1...4 { try await ask(0..<6) }
        _ = try await probe.measure()
        time.advance(by: .seconds(90))
        try await ask(100..<120)
        #expect(try await probe.measure().values == ["lookups": 20, "hit-ratio": 0])
    }
}
