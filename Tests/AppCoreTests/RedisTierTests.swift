import TestServers
import Testing
import Vitals

@testable import AppCore

/// What is believed of Redis, and what is not.
@Suite("What Redis has for all processes")
struct RedisTierTests {
    private func isSuspect(_ key: String, in tier: RedisTier) async -> Bool {
        if case .fallback(.suspect) = await tier.read(key) { true } else { false }
    }

    @Test("when more keys are suspect than are remembered, none is believed until all that can be there has expired")
    func allSuspect() async throws {
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let time = ManualTime()
        let configuration = CacheConfiguration()
        // Nobody connects it: each write fails at once.
        let redis = RedisConnection(RedisEndpoint(address: .unix(path: "/nowhere/redis.sock")), loop: loop, logger: .quiet)
        let tier = RedisTier(redis: redis, configuration: configuration, time: time, logger: .quiet, meters: CacheMeters())
        func write(_ key: String) async -> Bool { await tier.write([1], version: 2, for: key, remaining: .seconds(60), isWrite: true) }

        for number in 0..<RedisTier.suspectLimit { _ = await write("\(number)") }
        #expect(tier.suspects == RedisTier.suspectLimit)
        #expect(await isSuspect("0", in: tier))
        #expect(await !isSuspect("another", in: tier))

        #expect(await !write("one more"))
        for key in ["0", "one more", "another"] { #expect(await isSuspect(key, in: tier), "\(key)") }
        time.advance(by: configuration.copyLifetime)
        #expect(await !isSuspect("another", in: tier))
    }
}
