import Testing
import Vitals

@testable import AppCore

struct `Redis addresses` {
    @Test(arguments: [
        ("redis://127.0.0.1:6379", RedisEndpoint(address: .tcp(host: "127.0.0.1", port: 6379))),
        ("redis://cache", RedisEndpoint(address: .tcp(host: "cache", port: 6379))),
        ("redis://cache:/3", RedisEndpoint(address: .tcp(host: "cache", port: 6379), database: 3)),
        ("redis://[::1]:", RedisEndpoint(address: .tcp(host: "::1", port: 6379))),
        ("redis://cache/3", RedisEndpoint(address: .tcp(host: "cache", port: 6379), database: 3)),
        ("redis://[::1]:7000/", RedisEndpoint(address: .tcp(host: "::1", port: 7000))),
        ("redis://:p%40ss:w@cache:1", RedisEndpoint(address: .tcp(host: "cache", port: 1), password: Secret("p@ss:w"))),
        ("redis://app:secret@cache", RedisEndpoint(address: .tcp(host: "cache", port: 6379), user: "app", password: Secret("secret"))),
        ("redis://app@cache", RedisEndpoint(address: .tcp(host: "cache", port: 6379), user: "app")),
        ("redis://app:@cache", RedisEndpoint(address: .tcp(host: "cache", port: 6379), user: "app", password: Secret(""))),
        ("redis://:@cache", RedisEndpoint(address: .tcp(host: "cache", port: 6379))),
        ("redis://a%3Ap:p/a@s?s%25@cache", RedisEndpoint(address: .tcp(host: "cache", port: 6379), user: "a:p", password: Secret("p/a@s?s%"))),
        ("redis://cache?db=3", RedisEndpoint(address: .tcp(host: "cache", port: 6379), database: 3)),
        ("redis://cache/3?database=3", RedisEndpoint(address: .tcp(host: "cache", port: 6379), database: 3)),
        ("redis://[fe80::1%25lo]", RedisEndpoint(address: .tcp(host: "fe80::1%lo", port: 6379))),
        ("valkey://cache", RedisEndpoint(address: .tcp(host: "cache", port: 6379))),
        ("redis+unix:///run/my%20redis.sock?db=1", RedisEndpoint(address: .unix(path: "/run/my redis.sock"), database: 1)),
        ("redis-socket:///run/redis.sock?database=1", RedisEndpoint(address: .unix(path: "/run/redis.sock"), database: 1)),
        ("unix://app:pw@/run/redis.sock", RedisEndpoint(address: .unix(path: "/run/redis.sock"), user: "app", password: Secret("pw"))),
        ("unix:///run/redis@main/redis.sock", RedisEndpoint(address: .unix(path: "/run/redis@main/redis.sock"))),
        ("unix://:p@w@/run/redis@main.sock?db=2", RedisEndpoint(address: .unix(path: "/run/redis@main.sock"), password: Secret("p@w"), database: 2)),
        ("unix:///run/redis.sock", RedisEndpoint(address: .unix(path: "/run/redis.sock"))),
        ("unix://:pw@/run/redis.sock?db=2", RedisEndpoint(address: .unix(path: "/run/redis.sock"), password: Secret("pw"), database: 2)),
    ])
    func `are read`(url: String, expected: RedisEndpoint) throws {
        #expect(try RedisEndpoint(url: url) == expected)
    }

    @Test(arguments: [
        "", "cache:6379", "http://cache", "rediss://cache", "valkeys://cache", "redis-sentinel://cache", "redis-cluster://cache", "redis://",
        "redis://:0", "redis://cache:0", "redis://cache:65536", "redis://cache:x", "redis://cache:+1", "redis://cache/x",
        "redis://cache/-1", "redis://cache/1?db=2", "redis://cache?timeout=secret", "redis://a:secret:c", "redis://:secret%zz@cache",
        "redis://:s%00secret@cache", "redis://::1", "redis://[::1", "redis://[::1]x", "unix://relative", "unix://app:s/secret@/run/redis.sock", "unix://", "unix:///s?secret=1",
    ])
    func `are refused without quoting a secret`(url: String) {
        do throws(RedisEndpoint.InvalidURL) {
            _ = try RedisEndpoint(url: url)
            Issue.record("was read: \(url)")
        } catch {
            #expect(!"\(error)".contains("secret"))
        }
    }

    @Test func `say of TLS what to do instead`() {
        let error = #expect(throws: RedisEndpoint.InvalidURL.self) { try RedisEndpoint(url: "rediss://:secret@cache") }
        #expect(error?.reason == "TLS (rediss://) is not spoken to Redis; name a TLS tunnel on this machine, or a Redis in a network you trust")
    }

    @Test func `never print the password`() throws {
        let endpoint = try RedisEndpoint(url: "redis://app:hunter2@cache:6379/1")
        #expect("\(endpoint)" == "redis://app:<redacted>@cache:6379/1")
        var dumped = ""
        dump(endpoint, to: &dumped)
        #expect(!dumped.contains("hunter2"))
    }

    @Test(arguments: [
        (RedisError.down(reason: "Connection refused", since: .zero), RedisError.Kind.refused), (.timeout(after: .zero), .timeout),
        (.down(reason: "redis: WRONGPASS invalid username-password pair", since: .zero), .auth), (.refused("NOAUTH Authentication required."), .auth),
        (.down(reason: "ERR max number of clients reached", since: .zero), .full), (.refused("WRONGTYPE"), .other),
    ])
    func `errors have a kind`(error: RedisError, kind: RedisError.Kind) {
        #expect(error.kind == kind)
    }

    @Test func `INFO is a table of fields`() {
        let fields = RedisInfo.fields("# Server\r\nredis_version:7.0.15\r\nos:Linux 6.1: x\r\n\r\nnonsense\r\n")
        #expect(fields == ["redis_version": "7.0.15", "os": "Linux 6.1: x"])
    }

    @Test(arguments: [(1, 50), (2, 100), (39, 1_950), (40, 2_000), (1_000, 2_000)])
    func `reconnect delays grow by 50 ms up to 2 s`(retries: Int, milliseconds: Int) {
        #expect(RedisConnection.delay(retries: retries, jitter: 1) == .milliseconds(milliseconds))
        #expect(RedisConnection.delay(retries: retries, jitter: 1.2) == .milliseconds(Double(milliseconds) * 1.2))
    }
}
