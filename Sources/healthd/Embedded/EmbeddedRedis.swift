import AppCore
import Logging
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// A private Redis in the state folder: on a unix socket only, bounded, and without persistence. What it holds can be lost.
struct EmbeddedRedis: Sendable {
    let folder: ServerFolder
    let program: String
    let logger: Logger

    static let socket = "redis.sock"
    private var socketPath: String { "\(folder.path)/\(Self.socket)" }

    var endpoint: RedisEndpoint { RedisEndpoint(address: .unix(path: socketPath)) }

    /// Starts a new one; one that outlived a killed healthd is ended first, since it holds nothing worth keeping.
    ///
    /// Nothing is left running by a start that fails or is cancelled.
    func start() async throws {
        try folder.prepare(socket: Self.socket)
        await stop()
        do {
            try await launch()
        } catch {
            await stop()
            throw error
        }
    }

    private func launch() async throws {
        for name in [Self.socket, "redis.pid", "redis.log"] { unlink("\(folder.path)/\(name)") }
        try await ServerCommand(
            program: program,
            arguments: [
                "--port", "0", "--unixsocket", socketPath, "--unixsocketperm", "700", "--dir", folder.path, "--daemonize", "yes",
                "--pidfile", "\(folder.path)/redis.pid", "--logfile", "\(folder.path)/redis.log", "--save", "", "--appendonly",
                "no",
                "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru",
            ], user: folder.user, folder: folder.path
        ).run(within: .seconds(5), time: folder.time)
        let giveUpAt = folder.time.now() + .seconds(5)
        while !accepts() {
            try Task.checkCancellation()
            guard folder.time.now() < giveUpAt else {
                let words = folder.read("redis.log").map { lastLines(of: $0) } ?? "(no log)"
                throw EmbeddedServerError("the private Redis does not answer on \(socketPath); its log ends: \(words)")
            }
            await nap()
        }
        logger.info("private Redis started", metadata: ["folder": "\(folder.path)", "pid": "\(server()?.pid ?? 0)"])
    }

    func stop() async {
        // Twice: what was started while the first look was taken is found by the second.
        for _ in 0..<2 { await folder.end(servers(), with: [(SIGTERM, .seconds(1)), (SIGKILL, .seconds(2))]) }
        if servers().isEmpty { return }
        logger.error("the private Redis could not be ended", metadata: ["folder": "\(folder.path)"])
    }

    /// That of the pid file, and what works in our folder: one whose start was cut short has written no pid file yet.
    private func servers() -> [RunningProcess] {
        let there = RunningProcess.working(below: folder.path).filter { isOurs($0.arguments, workingDirectory: folder.path) }
        return there + [server()].compactMap { $0 }.filter { !there.contains($0) }
    }

    /// The process of the pid file, if it is a Redis that works in our folder or names our socket.
    private func server() -> RunningProcess? {
        guard let line = folder.read("redis.pid")?.split(separator: "\n").first, let pid = Int32(line),
            let process = RunningProcess(pid: pid), isOurs(process.arguments, workingDirectory: process.workingDirectory)
        else { return nil }
        return process
    }

    /// Pure. Redis writes its title over its command line: `redis-server unixsocket:/path`.
    func isOurs(_ arguments: [String], workingDirectory: String?) -> Bool {
        let words = arguments.joined(separator: " ")
        guard let program = words.split(separator: " ").first?.split(separator: "/").last, program.hasPrefix("redis-server") else {
            return false
        }
        return words.contains(socketPath) || workingDirectory == folder.path
    }

    private func accepts() -> Bool {
        let descriptor = Glibc.socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        let family = sa_family_t(AF_UNIX)
        let address = withUnsafeBytes(of: family) { Array($0) } + Array(socketPath.utf8) + [0]
        return address.withUnsafeBytes { bytes in
            guard let base = bytes.assumingMemoryBound(to: sockaddr.self).baseAddress else { return false }
            return connect(descriptor, base, socklen_t(bytes.count)) == 0
        }
    }
}
