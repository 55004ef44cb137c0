import Glibc
import TestServers
import Testing
import Vitals

@testable import AppCore

private struct Note: CacheableValue, Hashable {
    var version: Int
}

/// What Redis answers, what we do, and what we say.
@Suite("Redis' refusals")
struct RedisTroubleTests {
    private static let readsOn = "READONLY You can't write against a read only replica."

    /// Answers of Redis 7.0, and of older ones where those differ.
    static let replies: [(reply: String, reaction: RedisTrouble.Reaction, kind: RedisError.Kind, says: String)] = [
        (readsOn, .findPrimary, .other, "primary"),
        ("ERR Error running script (call to f_0a): @user_script:5: @user_script: 5: -\(readsOn)", .findPrimary, .other, "primary"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", .findPrimary, .other, "primary"),
        ("NOAUTH Authentication required.", .connectAgain, .auth, "cache.password-file"),
        ("WRONGPASS invalid username-password pair or user is disabled.", .connectAgain, .auth, "password"),
        ("ERR invalid password", .connectAgain, .auth, "password"),
        ("ERR max number of clients reached", .connectAgain, .full, "maxclients"),
        ("LOADING Redis is loading the dataset in memory", .rest, .other, "has read its data"),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", .rest, .other, "SCRIPT KILL"),
        ("CLUSTERDOWN Hash slot not served", .rest, .other, "name one server"),
        ("MOVED 866 10.0.0.1:6379", .rest, .other, "name one server"), ("ASK 866 10.0.0.1:6379", .rest, .other, "name one server"),
        ("CROSSSLOT Keys in request don't hash to the same slot", .rest, .other, "name one server"),
        ("OOM command not allowed when used memory > 'maxmemory'. script: 0a, on @user_script:11.", .rest, .full, "maxmemory"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", .rest, .other, "its log"),
        ("NOREPLICAS Not enough good replicas to write.", .rest, .other, "min-replicas-to-write"),
        ("NOPERM User app has no permissions to run the 'eval' command", .rest, .auth, "ACL"),
        ("ERR The user executing the script can't run this command or subcommand script: 0a, on @user_script:1.", .rest, .auth, "ACL"),
        ("ERR unknown command 'EVAL', with args beginning with: ", .rest, .other, "renamed"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", .dropKey, .other, "database of its own"),
        ("ERR Connection refused", .rest, .refused, "does Redis run"), ("ERR Connection timed out", .rest, .timeout, ""),
        ("ERR something that nobody foresaw", .rest, .other, ""),
    ]

    @Test("C6: every reply of Redis has one reaction, one name and one advice", arguments: replies)
    func table(reply: String, reaction: RedisTrouble.Reaction, kind: RedisError.Kind, says: String) {
        #expect(RedisTrouble.reaction(to: reply) == reaction)
        #expect(RedisError.refused(reply).kind == kind)
        let explained = RedisError.refused(reply).explained
        #expect(explained.hasPrefix(reply) && (says.isEmpty || explained.dropFirst(reply.count).contains(says)), "\(explained)")
    }

    @Test("C6: no code is found inside another word", arguments: ["task queue", "BUSYGROUP exists", "unmasked", "READONLYX"])
    func wholeWords(text: String) {
        #expect(RedisTrouble.of(text) == nil)
    }

    /// What is done to a server, what it then says to whom, and how it is made well.
    struct Illness: Sendable, CustomTestStringConvertible {
        var name: String
        var begin: [String]
        var end: [String]
        /// What the log and the obstacle say.
        var says: [String]
        /// Whether the link is given up; else it stays.
        var leaves = false

        var testDescription: String { name }
    }

    static let illnesses = [
        Illness(name: "OOM", begin: ["CONFIG", "SET", "maxmemory", "1"], end: ["CONFIG", "SET", "maxmemory", "0"], says: ["OOM", "maxmemory-policy"]),
        Illness(
            name: "NOREPLICAS", begin: ["CONFIG", "SET", "min-replicas-to-write", "1"], end: ["CONFIG", "SET", "min-replicas-to-write", "0"],
            says: ["NOREPLICAS", "too few replicas"]),
        Illness(name: "NOPERM", begin: ["ACL", "SETUSER", "default", "-eval"], end: ["ACL", "SETUSER", "default", "+eval"], says: ["NOPERM", "its ACL"]),
        Illness(
            name: "READONLY", begin: ["REPLICAOF", "127.0.0.1", "1"], end: ["REPLICAOF", "NO", "ONE"], says: ["READONLY", "does the address lead to the primary"],
            leaves: true),
    ]

    @Test("C6: what Redis refuses is told once, costs nobody a value, and is done again when it may be", arguments: illnesses)
    func illness(_ illness: Illness) async throws {
        let server = try await TestRedis.start()
        try await server.withCache { cache, connection, log in
            await cache.store(Note(version: 1), for: "a", asked: .now())
            try await until("it is in Redis") { try await server.command("GET", "a").contains(#""version":1"#) }
            let links = connection.connects
            _ = try await run(server, illness.begin)

            for version in 2...20 { await cache.store(Note(version: version), for: "a", asked: .now()) }
            #expect(try await cache.value(for: "a", load: { Note(version: 20) }).value.version == 20)
            try await until("the obstacle is known") { cache.redisObstacle.map { obstacle in illness.says.allSatisfy { obstacle.reason.contains($0) } } ?? false }
            // Attempts that go on meanwhile are no news.
            try await until("another attempt was refused") {
                await cache.store(Note(version: 20), for: "a", asked: .now())
                return cache.statistics().errors[.set].map { $0 >= (illness.leaves ? 1 : 2) } ?? false
            }
            let told = log.all.filter { line in line.hasPrefix("warning") && illness.says.allSatisfy { line.contains($0) } }
            #expect(told.count == 1, "\(log.all)")
            #expect(connection.isUp != illness.leaves)

            _ = try await run(server, illness.end)
            // Without a caller: nobody need read for an alarm to end.
            try await until("the obstacle is gone") { cache.redisObstacle == nil }
            var version = 20
            try await until("writes reach Redis again") {
                version += 1
                await cache.store(Note(version: version), for: "a", asked: .now())
                return try await server.command("GET", "a").contains("\"version\":\(version)")
            }
            #expect(cache.redisObstacle == nil && log.all.contains { $0.hasPrefix("info redis") && $0.contains("again") }, "\(log.all)")
            #expect(connection.connects == links + (illness.leaves ? 1 : 0))
        }
    }

    private func run(_ server: TestRedis, _ words: [String]) async throws -> String {
        try await TestServers.run("redis-cli", ["-s", server.socketPath] + words)
    }

    @Test("C6: a failover behind one address: the link leaves the former primary, and the next leads to the new one")
    func failover() async throws {
        let (former, new) = (try await TestRedis.start(), try await TestRedis.start())
        let address = former.socketPath + ".address"
        #expect(symlink(former.socketPath, address) == 0)
        try await former.withCache(path: address) { cache, connection, log in
            await cache.store(Note(version: 1), for: "a", asked: .now())
            _ = try await former.command("REPLICAOF", "127.0.0.1", "1")
            // The address still leads there for a while: nothing is to come of that but attempts.
            await cache.store(Note(version: 2), for: "a", asked: .now())
            try await until("the replica is left") { !connection.isUp }
            #expect(symlink(new.socketPath, address + ".new") == 0 && rename(address + ".new", address) == 0)
            try await until("there is a link again") { connection.isUp }
            _ = try await cache.value(for: "b", load: { Note(version: 1) })
            try await until("it is on the new primary") { try await new.command("GET", "b").contains(#""version":1"#) }
            #expect(log.all.filter { $0.hasPrefix("warning redis is unavailable") }.count == 1, "\(log.all)")
        }
    }

    @Test("C6: a Redis that cannot save lets a new connection in: reads go on while writes are refused")
    func unsaved() async throws {
        // A folder in which nobody makes a file.
        let server = try await TestRedis.start(options: ["--dir", "/proc", "--save", "3600", "1"])
        try await server.withCache { cache, _, _ in
            await cache.store(Note(version: 1), for: "a", asked: .now())
            try await until("it is in Redis") { try await server.command("EXISTS", "a") == "1" }
        }
        _ = try await server.command("BGSAVE")
        try await until("Redis cannot save") { try await server.command("PING").contains("MISCONF") }
        try await server.withCache { cache, connection, log in
            let found = try await cache.value(for: "a", load: { Note(version: 9) })
            #expect(found.source == .redis && found.value.version == 1)
            await cache.store(Note(version: 2), for: "a", asked: .now())
            try await until("the obstacle is known") { cache.redisObstacle?.reason.contains("its log says why") == true }
            #expect(try await connection.info() != nil)
            #expect(connection.isUp && connection.connects == 1)
            #expect(log.all.allSatisfy { !$0.contains("redis is unavailable") }, "\(log.all)")
        }
    }

    @Test("C6: a Redis without EVAL, or a key of another kind, leaves the cache working")
    func strangers() async throws {
        let renamed = try await TestRedis.start(options: ["--rename-command", "EVAL", "HIDDEN"])
        try await renamed.withCache { cache, connection, log in
            #expect(try await cache.value(for: "a", load: { Note(version: 1) }).value.version == 1)
            try await until("it is told") { log.all.contains { $0.hasPrefix("warning redis refuses") && $0.contains("unknown command") } }
            #expect(connection.isUp)
        }
        let shared = try await TestRedis.start()
        _ = try await shared.command("LPUSH", "a", "x")
        try await shared.withCache { cache, connection, log in
            #expect(try await cache.value(for: "a", load: { Note(version: 1) }).value.version == 1)
            try await until("what was there has gone") { try await shared.command("TYPE", "a") != "list" }
            var version = 1
            try await until("ours is there") {
                version += 1
                await cache.store(Note(version: version), for: "a", asked: .now())
                return try await shared.command("GET", "a").contains("\"version\":\(version)")
            }
            #expect(connection.connects == 1 && cache.redisObstacle == nil, "\(log.all)")
            #expect(log.all.filter { $0.hasPrefix("warning") && $0.contains("another application uses a key of the cache") && $0.contains("database of its own") }.count == 1, "\(log.all)")
        }
    }

    @Test func `an operation that is refused rests alone, and is tried by one at a time`() {
        let start = MonotonicInstant(nanoseconds: 1_000_000_000_000)
        var refusals = RedisRefusals()
        #expect(refusals.note(.set, of: "a", .refused("OOM x"), at: start) == .opened)
        #expect(refusals.note(.set, of: "a", .refused("OOM x"), at: start) == nil)
        #expect(!refusals.admits(.set, at: start) && refusals.admits(.get, at: start))
        #expect(refusals.longest?.message == "OOM x")
        let later = start + .milliseconds(500)
        #expect(refusals.admits(.set, at: later) && !refusals.admits(.set, at: later))
        // Whoever tries and gets no answer leaves the trial to the next.
        #expect(refusals.note(.set, of: "a", .timeout(after: .zero), at: later) == nil)
        #expect(refusals.admits(.set, at: later) == true)
        #expect(refusals.note(.set, of: "a", nil, at: later) == .closed)
        #expect(refusals.longest == nil && refusals.note(.set, of: "a", nil, at: later) == nil)
    }

    @Test func `an operation that is refused again rests twice as long, and is in trouble since the first time`() {
        let start = MonotonicInstant(nanoseconds: 1_000_000_000_000)
        var refusals = RedisRefusals()
        #expect(refusals.note(.set, of: "a", .refused("OOM x"), at: start) == .opened)
        let again = start + .milliseconds(500)
        #expect(refusals.admits(.set, at: again) == true)
        #expect(refusals.note(.set, of: "b", .refused("OOM y"), at: again) == nil)
        #expect(refusals.admits(.set, at: again + .milliseconds(999)) == false)
        #expect(refusals.admits(.set, at: again + .seconds(1)) == true)
        #expect(refusals.longest?.since == start && refusals.longest?.message == "OOM y")
        #expect(refusals.resting.map(\.key) == ["b"])
    }
}
