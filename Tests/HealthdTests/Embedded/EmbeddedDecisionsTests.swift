import Glibc
import Logging
import TestServers
import Testing
import Vitals

@testable import healthd

private let user = ServerUser(name: "postgres", uid: 101, gid: 104, isSwitched: true)

private func folder(_ path: String) -> ServerFolder { ServerFolder(path: path, user: user, time: ManualTime()) }

@Suite struct `A running process` {
    @Test(arguments: [
        ("7 (postgres) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2", "postgres\0-D\0/x\0", true),
        ("7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2", "a\0", true),
        ("7 (postgres) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2", "", false),
        ("7 (postgres) S 1 7", "postgres\0", false),
        ("", "", false),
    ])
    func `is read from its two files, and a zombie is none`(stat: String, commandLine: String, isRunning: Bool) {
        let process = RunningProcess(pid: 7, stat: stat, commandLine: commandLine)
        #expect((process != nil) == isRunning)
        if let process { #expect(process.startTicks == 4_711 && process.parent == 1 && process.state == "S") }
    }

    @Test func `is not somebody else with the same id`() throws {
        let ours = try #require(RunningProcess(pid: getpid()))
        #expect(ours.isRunning)
        let stranger = try #require(
            RunningProcess(
                pid: getpid(), stat: "\(getpid()) (x) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1 1 2", commandLine: "x"))
        #expect(!stranger.isRunning)
    }
}

@Suite struct `Our own servers` {
    @Test(arguments: [
        (["/usr/lib/postgresql/15/bin/postgres", "-D", "/state/postgres/data"], true),
        (["postgres", "-D/state/postgres/data"], true),
        (["/usr/lib/postgresql/15/bin/postgres", "-D", "/state/postgres/data2"], false),
        (["/usr/lib/postgresql/15/bin/postgres", "-D", "/var/lib/postgresql/15/main"], false),
        (["vi", "-D", "/state/postgres/data"], false), ([], false),
    ])
    func `PostgreSQL is known by its program and its data folder`(arguments: [String], isOurs: Bool) {
        let server = EmbeddedPostgres(
            folder: folder("/state/postgres"), programs: .init(postgresFolders: [], path: []), connections: 40, logger: .quiet)
        #expect(server.isOurs(arguments) == isOurs)
    }

    @Test(arguments: [
        (["/usr/lib/postgresql/15/bin/postgres", "-D", "/state/postgres/data"], true), (["postgres: checkpointer "], true),
        (["/usr/lib/postgresql/15/bin/initdb", "--pgdata=/x"], true), (["/usr/lib/postgresql/15/bin/pg_ctl", "start"], true),
        (["/bin/sh", "-c", "exec \"/usr/lib/postgresql/15/bin/postgres\" -D \"/state/postgres/data\""], true),
        (["sh", "-c", "tail -f postgres.log"], false), (["sh"], false), (["sh", "-c", "ls"], false), (["psql"], false), (["-bash"], false), ([], false),
    ])
    func `what works in PostgreSQL's folder is its own by its program`(arguments: [String], isOurs: Bool) {
        let server = EmbeddedPostgres(
            folder: folder("/state/postgres"), programs: .init(postgresFolders: [], path: []), connections: 40, logger: .quiet)
        #expect(server.isOfPostgres(arguments) == isOurs)
    }

    @Test(
        arguments: [
            (["redis-server unixsocket:/state/redis/redis.sock"], nil, true),
            (["/usr/bin/redis-server", "--port", "0", "--unixsocket", "/state/redis/redis.sock"], nil, true),
            (["redis-server *:0"], "/state/redis", true), (["redis-server *:6379"], "/var/lib/redis", false),
            (["vi /state/redis/redis.sock"], nil, false), ([], nil, false),
        ] as [([String], String?, Bool)])
    func `Redis is known by its program, and its socket or its folder`(arguments: [String], workingDirectory: String?, isOurs: Bool)
    {
        let server = EmbeddedRedis(folder: folder("/state/redis"), program: "/usr/bin/redis-server", logger: .quiet)
        #expect(server.isOurs(arguments, workingDirectory: workingDirectory) == isOurs)
    }
}

@Suite struct `The servers' user` {
    typealias Access = ServerUser.Access

    @Test(arguments: [
        ([:], nil),
        (["/srv": Access(owner: 0, group: 0, mode: 0o700)], "/srv"),
        (["/srv": Access(owner: 0, group: 0, mode: 0o711)], nil),
        (["/srv/a": Access(owner: 101, group: 0, mode: 0o700)], nil),
        (["/srv/a": Access(owner: 101, group: 0, mode: 0o077)], "/srv/a"),
        (["/srv/a": Access(owner: 0, group: 104, mode: 0o710)], nil),
        (["/srv/a/b": Access(owner: 0, group: 104, mode: 0o701)], "/srv/a/b"),
    ])
    func `is told which folder is in the way`(folders: [String: Access], obstacle: String?) {
        let found = user.obstacle(to: "/srv/a/b") { folders[$0] ?? Access(owner: 0, group: 0, mode: 0o755) }
        #expect(found == obstacle)
    }

    @Test func `is told when the socket's path is too long`() {
        let long = folder("/" + String(repeating: "a", count: 100))
        let error = #expect(throws: EmbeddedServerError.self) { try long.prepare(socket: ".s.PGSQL.5432") }
        #expect(error?.description.contains("115 bytes and the system's limit is 107") == true)
    }
}

@Suite struct `The last lines of a log` {
    @Test func `are one line`() {
        #expect(lastLines(of: "a\nb\n\n  \nc\nd\ne\n", count: 3) == "c | d | e")
        #expect(lastLines(of: "") == "")
    }
}

@Suite("Server commands")
struct ServerCommandTests {
    @Test func `as root another program changes the user, and the words stay the program's own`() {
        let postgres = ServerUser(name: "postgres", uid: 105, gid: 109, isSwitched: true)
        let command = ServerCommand(program: "/usr/bin/initdb", arguments: ["-D", "/data"], user: postgres, folder: "/")
        #expect(command.words == ["/usr/bin/setpriv", "--reuid=105", "--regid=109", "--clear-groups", "--", "/usr/bin/initdb", "-D", "/data"])
        let own = ServerUser(name: "app", uid: 1_000, gid: 1_000, isSwitched: false)
        #expect(ServerCommand(program: "/usr/bin/initdb", arguments: [], user: own, folder: "/").words == ["/usr/bin/initdb"])
    }

    @Test func `a program is run as its user, many times while threads come and go`() async throws {
        let user = try ServerUser.current()
        for _ in 0..<40 {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        // A thread that is being made during the fork is what once stopped the child for good.
                        let threads = (0..<4).map { _ in Thread.start() }
                        try await ServerCommand(program: "/usr/bin/test", arguments: ["-n", "x"], user: user, folder: "/").run(within: .seconds(20), time: SystemTime())
                        for thread in threads { thread.join() }
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}

/// A thread of the C library, to be joined.
private struct Thread: Sendable {
    private let handle: pthread_t

    static func start() -> Thread {
        var handle = pthread_t()
        pthread_create(&handle, nil, { _ in nil }, nil)
        return Thread(handle: handle)
    }

    func join() { pthread_join(handle, nil) }
}
