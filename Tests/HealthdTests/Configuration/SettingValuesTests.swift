import AppCore
import Testing
import Vitals

@testable import healthd

@Suite struct `Setting values` {
    @Test(
        arguments: [
            ("32MiB", 32 << 20), ("1GiB", 1 << 30), ("512KiB", 512 << 10), ("7B", 7), ("32", nil), ("32MB", nil), ("-1MiB", nil),
            ("1.5MiB", nil), ("MiB", nil), ("99999999999999999999B", nil), ("9999999999999GiB", nil),
        ] as [(String, Int?)])
    func `sizes need a unit and a whole number`(text: String, bytes: Int?) {
        #expect(ByteCount(setting: text)?.bytes == bytes)
    }

    @Test(arguments: ["32MiB", "1GiB", "512KiB", "7B", "1025B"]) func `sizes print as they are written`(text: String) {
        #expect(ByteCount(setting: text)?.description == text)
    }

    @Test(
        arguments: [
            ("127.0.0.1:9798", "127.0.0.1:9798"), ("[::1]:80", "[::1]:80"), ("localhost:0", "localhost:0"), (":80", nil),
            ("host", nil),
            ("host:", nil), ("::1:80", nil), ("host:65536", nil), ("ho st:1", nil), ("[::1]", nil), ("host:+1", nil),
            ("[x]:1", nil),
        ] as [(String, String?)])
    func `listen addresses are a host and a port`(text: String, printed: String?) {
        #expect(ListenAddress(setting: text)?.description == printed)
    }

    @Test(arguments: [
        (Duration.zero, "0s"), (.milliseconds(250), "250ms"), (.milliseconds(1_500), "1500ms"), (.seconds(60), "1m"),
        (.seconds(90), "90s"),
        (.seconds(86_400), "24h"), (.microseconds(5), "5us"),
    ])
    func `durations print as they are written`(duration: Duration, text: String) {
        #expect(duration.settingText == text)
        #expect(Duration(setting: text) == duration)
    }

    @Test(
        arguments: [
            ("pol", ["pool", "probes"], "pool"), ("listne", ["listen", "state"], "listen"), ("zebra", ["pool", "state"], nil),
            ("max", [], nil), ("per_workspace", ["per-workspace", "concurrency"], "per-workspace"), ("mxa", ["min", "max"], "max"),
            ("LISTEN", ["listen"], "listen"), ("HEALTHD_DATABSE_POOL_MAX", ["HEALTHD_DATABASE_POOL_MAX", "HEALTHD_DATABASE_POOL_MIN"], "HEALTHD_DATABASE_POOL_MAX"),
            ("HEALTHD_DATABASE_PASWORD_FLE", ["HEALTHD_DATABASE_PASSWORD_FILE"], "HEALTHD_DATABASE_PASSWORD_FILE"),
            // What is common to all names makes none of them near.
            ("HEALTHD_PORT", ["HEALTHD_STATE", "HEALTHD_LISTEN"], nil), ("HEALTHD_USER", ["HEALTHD_LISTEN"], nil), ("HEALTHD_VERSION", ["HEALTHD_LISTEN"], nil),
            ("database.host", ["database.pool", "database.url"], nil), ("database.pool.size", ["database.pool.idle", "database.pool.max"], nil),
            ("HEALTHD_REDIS_PASSWORD_FILE", ["HEALTHD_CACHE_PASSWORD_FILE"], nil), ("up", ["run", "seed"], nil), ("HEALTHD_", ["HEALTHD_LISTEN"], nil),
        ] as [(String, [String], String?)])
    func `the nearest name is at most a few slips away`(written: String, names: [String], nearest: String?) {
        #expect(nearestName(to: written, among: names) == nearest)
    }
}

@Suite struct `PostgreSQL URLs` {
    @Test(
        arguments: [
            ("postgres://", [:]),
            (
                "postgresql://u:p%40s@db.example.org:5433/app",
                ["user": "u", "password": "p@s", "host": "db.example.org", "port": "5433", "dbname": "app"]
            ),
            ("postgres://u:a:b@h/d", ["user": "u", "password": "a:b", "host": "h", "dbname": "d"]),
            ("postgres://%2Frun%2Fpostgresql/app", ["host": "/run/postgresql", "dbname": "app"]),
            ("postgres:///app?host=/run/postgresql&port=5433", ["host": "/run/postgresql", "port": "5433", "dbname": "app"]),
            ("postgres://[::1]:5432/d", ["host": "::1", "port": "5432", "dbname": "d"]),
            (
                "postgres://a:1,b:2/d?target_session_attrs=read-write",
                ["host": "a,b", "port": "1,2", "dbname": "d", "target_session_attrs": "read-write"]
            ),
            ("postgres://h/d?ssl=true", ["host": "h", "dbname": "d", "sslmode": "require"]),
        ] as [(String, [String: String])])
    func `become libpq's keywords`(url: String, keywords: [String: String]) throws {
        #expect(try PostgresURL(url).keywords.values == keywords)
    }

    @Test(arguments: [
        "postgres//h", "http://h/d", "postgres://h:x/d", "postgres://[::1/d", "postgres://[::1]x/d", "postgres://h/d?a",
        "postgres://h/d?zebra=1",
        "postgres://h/%ff", "postgres://h/%0", "postgres://h/%00", "postgres://h/d?sslmode=on",
    ])
    func `are refused with a reason`(url: String) {
        #expect(throws: URLComplaint.self) { try PostgresURL(url) }
    }
}

@Suite struct `Redis URLs` {
    @Test(arguments: [
        ("redis://h", "redis://h:6379/0"), ("redis://h:1/2", "redis://h:1/2"), ("redis://[::1]", "redis://[::1]:6379/0"),
        ("redis://:p@h", "redis://:<redacted>@h:6379/0"), ("redis://u:p@h/1", "redis://u:<redacted>@h:6379/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"), ("unix:///run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
    ])
    func `print without their password`(url: String, printed: String) throws {
        #expect(try RedisEndpoint(url: url).description == printed)
    }

    @Test(arguments: [
        "redis://", "redis://h:x", "redis://h/x", "rediss://h", "unix://relative", "h:6379", "unix:///s?x=1",
        "redis://h:0",
        "unix:///" + String(repeating: "a", count: 107),
    ])
    func `are refused with a reason`(url: String) {
        #expect(throws: RedisEndpoint.InvalidURL.self) { try RedisEndpoint(url: url) }
    }
}
