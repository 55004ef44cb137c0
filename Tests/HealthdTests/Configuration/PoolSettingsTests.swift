import AppCore
import Testing
import Vitals

@testable import healthd

/// The pool's settings at the ends of what is accepted, and just beyond.
@Suite struct `The pool's settings` {
    @Test(arguments: [("0", 0), ("1", 1), ("10", 10)])
    func `reserved is a number from 0 to 10`(text: String, reserved: Int) throws {
        #expect(try decode("database: { pool: { reserved: \(text) } }").pool.reserved == reserved)
        let configuration = try decode("database: { pool: { reserved: 3 } }", ["HEALTHD_DATABASE_POOL_RESERVED": text])
        #expect(configuration.pool.reserved == reserved)
        #expect(configuration.settings["database.pool.reserved"] == text)
    }

    @Test(arguments: [("on", true), ("off", false), ("true", true), ("false", false)])
    func `batching is on or off`(text: String, isOn: Bool) throws {
        #expect(try decode("database: { pool: { batching: \(text) } }").pool.batching == isOn)
        let configuration = try decode(nil, ["HEALTHD_DATABASE_POOL_BATCHING": text])
        #expect(configuration.pool.batching == isOn)
        #expect(configuration.settings["database.pool.batching"] == (isOn ? "on" : "off"))
    }

    @Test(arguments: [("0s", Duration.zero), ("10s", .seconds(10)), ("30m", .seconds(1_800)), ("7d", .seconds(604_800))])
    func `a lifetime is never over, or from ten seconds to a week`(text: String, lifetime: Duration) throws {
        #expect(try decode("database: { pool: { lifetime: \(text) } }").pool.lifetime == lifetime)
        #expect(try decode(nil, ["HEALTHD_DATABASE_POOL_LIFETIME": text]).pool.lifetime == lifetime)
    }

    @Test(
        arguments: [
            ("reserved", "a whole number from 0 to 10", ["-1", "11", "+1", "1.5", "many"]),
            ("batching", "on or off", ["yes", "1", "ON", "auto"]),
            ("lifetime", "0s (never) or a time from 10s to 7d, such as 30m", ["0", "9s", "9999ms", "8d", "-1s", "never", "30"]),
        ])
    func `what is not accepted is told with its place and what is`(key: String, expected: String, texts: [String]) {
        for text in texts {
            #expect(
                problems("database:\n  pool:\n    \(key): \"\(text)\"")
                    == ["healthd.yaml:3: database.pool.\(key) is \"\(text)\"; expected \(expected)"])
            let variable = "HEALTHD_DATABASE_POOL_\(key.uppercased())"
            #expect(problems(nil, [variable: text]) == ["\(variable): database.pool.\(key) is \"\(text)\"; expected \(expected)"])
        }
    }

    @Test func `all are on the list of what is in force, and named when misspelt`() throws {
        let settings = try decode(nil).settings
        #expect(settings["database.pool.reserved"] == "1" && settings["database.pool.batching"] == "on" && settings["database.pool.lifetime"] == "30m")
        #expect(
            problems("database: { pool: { reservd: 1 } }")
                == ["healthd.yaml:1: database.pool.reservd is not a setting; did you mean database.pool.reserved?"])
    }
}

@Suite struct `Every setting with a number` {
    @Test func `is in force where it belongs, and told under its own name`() throws {
        // Each is another number, and none is a default.
        let configuration = try decode(
            """
            database:
              pool: { max: 31, min: 3, idle: 32s, connect: 33s, deadline: 34s, lifetime: 35s, waiters: 36, reserved: 4, batching: off, prepared: on }
            cache: { ttl: 37s, memory: 38MiB, deadline: 39ms }
            tasks: { concurrency: 41, per-workspace: 5 }
            probes: { interval: 42s, timeout: 43ms }
            """)
        #expect(
            configuration.pool
                == PoolConfiguration(
                    max: 31, min: 3, idleTimeout: .seconds(32), connectTimeout: .seconds(33), deadline: .seconds(34), lifetime: .seconds(35), waiters: 36,
                    reserved: 4, batching: false, prepared: .on))
        let (cache, tasks, probes) = (configuration.cache, configuration.tasks, configuration.probes)
        #expect(cache.ttl == .seconds(37) && cache.memory == .mebibytes(38) && cache.deadline == .milliseconds(39))
        #expect(tasks.concurrency == 41 && tasks.perWorkspace == 5)
        #expect(probes.interval == .seconds(42) && probes.timeout == .milliseconds(43))
        let told = [
            "database.pool.max": "31", "database.pool.min": "3", "database.pool.idle": "32s", "database.pool.connect": "33s",
            "database.pool.deadline": "34s", "database.pool.lifetime": "35s", "database.pool.waiters": "36", "database.pool.reserved": "4",
            "database.pool.batching": "off", "database.pool.prepared": "on", "cache.ttl": "37s", "cache.memory": "38MiB", "cache.deadline": "39ms",
            "tasks.concurrency": "41", "tasks.per-workspace": "5", "probes.interval": "42s", "probes.timeout": "43ms",
        ]
        for (key, text) in told { #expect(configuration.settings[key] == text, "\(key)") }
    }
}
