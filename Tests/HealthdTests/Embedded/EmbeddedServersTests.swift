import AppCore
import Glibc
import Logging
import Subprocess
import TestServers
import Testing
import Vitals

@testable import healthd

/// A state folder below /tmp, reachable by every user, removed at the end with everything that still works in it.
private func withState(_ body: (String) async throws -> Void) async throws {
    let path = "/tmp/healthd-embedded-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    defer {
        for process in strays(path) { process.signal(SIGKILL) }
        removeFolder(path)
    }
    try await body(path)
}

/// Whatever runs of the servers below the folder.
private func strays(_ path: String) -> [RunningProcess] {
    entries(of: "/proc").compactMap { Int32($0) }.compactMap { RunningProcess(pid: $0) }.filter { process in
        process.pid != getpid()
            && (process.workingDirectory?.hasPrefix(path) == true || process.arguments.contains { $0.contains("\(path)/") })
    }
}

private func start(_ state: StateFolder, poolMax: Int = 10) async throws -> EmbeddedServers {
    try await EmbeddedServers.start(state: state, poolMax: poolMax, time: SystemTime(), logger: .quiet)
}

private func psql(_ servers: EmbeddedServers, _ sql: String) async throws -> String {
    let keywords = try #require(servers.postgres).keywords
    let result = try await Subprocess.run(
        .name("psql"),
        arguments: [
            "-X", "-A", "-t", "-h", keywords["host"] ?? "", "-U", keywords["user"] ?? "", "-d", keywords["dbname"] ?? "", "-c", sql,
        ],
        output: .string(limit: 65_536), error: .string(limit: 65_536))
    return (result.standardOutput + result.standardError).trimmingSuffix { $0 == "\n" }
}

private func redis(_ servers: EmbeddedServers, _ command: String...) async throws -> String {
    guard case .unix(let path)? = servers.redis?.address else { return "no redis" }
    let result = try await Subprocess.run(
        .name("redis-cli"), arguments: Arguments(["-s", path] + command), output: .string(limit: 65_536),
        error: .string(limit: 65_536))
    return (result.standardOutput + result.standardError).trimmingSuffix { $0 == "\n" }
}

extension String {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
        var text = self
        while let last = text.last, predicate(last) { text.removeLast() }
        return text
    }
}

/// Each starts a PostgreSQL of its own; one at a time, for the sake of the machine.
@Suite(.serialized, .timeLimit(.minutes(3))) struct `Embedded servers` {
    @Test func `answer, stop without leaving a process, and keep their data`() async throws {
        try await withState { path in
            do {
                let state = try StateFolder(path, mode: 0o711)
                let servers = try await start(state)
                #expect(
                    try await psql(servers, "SELECT current_user, current_database(), current_setting('fsync')")
                        == "healthd|healthd|on")
                #expect(
                    try await psql(
                        servers, "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = 'healthd'")
                        == "UTF8|C.UTF-8")
                #expect(try await psql(servers, "CREATE TABLE t AS SELECT 1 AS x") == "SELECT 1")
                #expect(try await redis(servers, "CONFIG", "GET", "save") == "save")
                #expect(try await redis(servers, "SET", "a", "1") == "OK")
                await servers.stop()
                #expect(strays(path).isEmpty)
                #expect(entries(of: "\(path)/postgres").sorted() == ["data", "postgres.log"])
            }
            let state = try StateFolder(path, mode: 0o711)
            let began = MonotonicInstant.now()
            let (servers, reference) = try await beside { try await start(state) }
            let again = Judged(.now() - began, bound: .seconds(3), reference: reference)
            #expect(again.holds, "\(again)")
            #expect(try await psql(servers, "SELECT x FROM t") == "1")
            await servers.stop()
            #expect(strays(path).isEmpty)
        }
    }

    @Test func `that outlived a killed daemon are taken over, even frozen`() async throws {
        try await withState { path in
            let state = try StateFolder(path, mode: 0o711)
            let first = try await start(state)
            let master = try #require(strays(path).first { $0.arguments.contains("-D") })
            for process in strays(path) { process.signal(SIGSTOP) }
            // Nothing of `first` is stopped: as after kill -9 of the daemon.
            let second = try await start(state)
            #expect(second.postgres == first.postgres)
            #expect(try await psql(second, "SELECT 1") == "1")
            #expect(try await redis(second, "PING") == "PONG")
            #expect(strays(path).filter { $0.arguments.contains("-D") } == strays(path).filter { $0.pid == master.pid })
            // Other settings cannot be taken over.
            let third = try await start(state, poolMax: 20)
            #expect(!master.isRunning)
            #expect(try await psql(third, "SHOW max_connections") == "50")
            for process in strays(path) { process.signal(SIGSTOP) }
            await third.stop()
            #expect(strays(path).isEmpty)
        }
    }

    @Test func `start again over what a killed PostgreSQL left`() async throws {
        try await withState { path in
            let state = try StateFolder(path, mode: 0o711)
            let first = try await start(state)
            #expect(try await psql(first, "CREATE TABLE t AS SELECT 2 AS x") == "SELECT 1")
            let children = strays(path)
            let master = try #require(children.first { $0.arguments.contains("-D") })
            for process in children where process != master { process.signal(SIGSTOP) }
            master.signal(SIGKILL)
            let second = try await start(state)
            #expect(try await psql(second, "SELECT x FROM t") == "2")
            await second.stop()

            // The pid file of a server that is gone names a process of somebody else's: it is not touched.
            try "\(getpid())\n\(path)/postgres/data\n".withCString { text in
                let file = try #require(fopen("\(path)/postgres/data/postmaster.pid", "w"))
                fputs(text, file)
                fclose(file)
            }
            let third = try await start(state)
            #expect(try await psql(third, "SELECT x FROM t") == "2")
            await third.stop()
            #expect(strays(path).isEmpty)
        }
    }

    @Test func `are stopped by a cancelled task, too`() async throws {
        try await withState { path in
            let state = try StateFolder(path, mode: 0o711)
            let servers = try await start(state)
            await withTaskGroup { group in
                group.addTask { await servers.stop() }
                group.cancelAll()
            }
            #expect(strays(path).isEmpty)
        }
    }

    /// Each while another program of the start runs; that of Redis is there from the beginning, and stays.
    @Test(arguments: ["redis-server", "initdb", "--single", "pg_ctl"])
    func `are gone, whatever had been started, when the start is cancelled`(program: String) async throws {
        try await withState { path in
            let state = try StateFolder(path, mode: 0o711)
            let hasEnded = Counter()
            let starting = Task {
                defer { hasEnded.add() }
                return try await start(state)
            }
            try await until("\(program) runs") { hasEnded.value > 0 || strays(path).contains { $0.arguments.joined(separator: " ").contains(program) } }
            starting.cancel()
            if case .success(let servers) = await starting.result { await servers.stop() }
            #expect(strays(path) == [])
            #expect(entries(of: "\(path)/postgres").filter { $0.hasSuffix(".new") } == [])
            // And nothing of it is in the way of the next one.
            let next = try await start(state)
            #expect(try await psql(next, "SELECT 1") == "1")
            await next.stop()
            #expect(strays(path) == [])
        }
    }

    @Test func `say what is wrong with the data they find`() async throws {
        try await withState { path in
            let state = try StateFolder(path, mode: 0o711)
            mkdir("\(path)/postgres", 0o700)
            mkdir("\(path)/postgres/data", 0o700)
            let file = try #require(fopen("\(path)/postgres/data/PG_VERSION", "w"))
            fputs("9\n", file)
            fclose(file)
            await #expect(throws: EmbeddedServerError.self) { try await start(state) }
            #expect(strays(path).isEmpty)
        }
    }
}

@Suite struct `The state folder` {
    private func withFolder(_ body: (String) throws -> Void) rethrows {
        let path = "/tmp/healthd-state-\(UInt32.random(in: 0...UInt32.max))/a/b"
        defer { removeFolder(String(path.dropLast(4))) }
        try body(path)
    }

    private func inUse(_ path: String) -> String {
        "another healthd (process \(getpid())) uses the state folder \(path); give this one a folder of its own (state, HEALTHD_STATE)"
    }

    @Test func `belongs to one daemon at a time`() throws {
        try withFolder { path in
            do {
                let first = try StateFolder(path)
                let error = #expect(throws: StateFolderError.self) { try StateFolder(path) }
                #expect(error?.description == inUse(path) && error?.cause == .anotherProcess)
                #expect(first.path == path)
            }
            _ = try StateFolder(path)
        }
    }

    @Test func `that cannot be made is named`() {
        let error = #expect(throws: StateFolderError.self) { try StateFolder("/proc/healthd/state") }
        #expect(
            error?.description
                == "the state folder /proc/healthd/state cannot be made: /proc/healthd: No such file or directory; choose another (state, HEALTHD_STATE)"
        )
    }

    @Test func `that is a file is a wrong setting, and no trouble of the disk that may pass`() throws {
        try withFolder { path in
            do { _ = try StateFolder(path) }
            #expect(throws: StateFolderError("the state folder \(path)/healthd.lock is no folder; choose another (state, HEALTHD_STATE)", .setting)) {
                try StateFolder("\(path)/healthd.lock")
            }
        }
    }

    @Test(arguments: ["", "/healthd.lock"]) func `A7: that somebody deleted is made and locked again`(deleted: String) throws {
        try withFolder { path in
            let late = LateStateFolder(path, mode: 0o711, try StateFolder(path, mode: 0o711))
            removeFolder(path + deleted)
            unlink(path + deleted)
            #expect(!isFile("\(path)/healthd.lock"))
            try late.take()
            #expect((ServerUser.access(path)?.mode ?? 0) & 0o777 == 0o711)
            #expect(throws: StateFolderError.self) { try StateFolder(path) }
        }
    }

    @Test func `A7: that another daemon took meanwhile is its own`() throws {
        try withFolder { path in
            let late = LateStateFolder(path, mode: 0o700, nil)
            let other = try StateFolder(path)
            let error = #expect(throws: LocalStore.InUse.self) { try late.take() }
            #expect(error?.description == inUse(path) && other.isThere)
        }
    }

    @Test func `A7: on a disk that takes no writes is another daemon's all the same while that one has the lock`() throws {
        try withFolder { path in
            do { _ = try StateFolder(path) }
            // Nobody can open a folder for writing, root neither; and it can be locked.
            let lock = "\(path)/healthd.lock"
            unlink(lock)
            mkdir(lock, 0o755)
            #expect(throws: StateFolderError("the state folder \(path) cannot be written to: Is a directory", .disk)) { try StateFolder(path) }
            let other = open(lock, O_RDONLY)
            defer { close(other) }
            #expect(flock(other, LOCK_EX | LOCK_NB) == 0)
            #expect(#expect(throws: StateFolderError.self) { try StateFolder(path) }?.cause == .anotherProcess)
        }
    }

    private func isFile(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
