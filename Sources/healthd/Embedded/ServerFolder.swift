import Dispatch
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// One private server's folder below the state folder, and the process that works there.
struct ServerFolder: Sendable {
    let path: String
    let user: ServerUser
    let time: any TimeSource

    /// The kernel's limit for a socket's path, its terminating zero aside.
    static let longestSocketPath = 107

    /// Makes the folder, for the servers' user alone.
    ///
    /// - Throws: `EmbeddedServerError` when the user cannot get there, or the folder is somebody else's.
    func prepare(socket: String) throws(EmbeddedServerError) {
        let socketPath = "\(path)/\(socket)"
        guard socketPath.utf8.count <= Self.longestSocketPath else {
            throw EmbeddedServerError(
                "the socket's path \(socketPath) has \(socketPath.utf8.count) bytes and the system's limit is \(Self.longestSocketPath); choose a shorter state folder (state, HEALTHD_STATE)"
            )
        }
        // Both end up in a shell's command line and in configuration files of the servers.
        guard !path.contains(where: { "\"'\\$`".contains($0) }) else {
            throw EmbeddedServerError(
                "the state folder's path \(path) holds a quote, a backslash or a dollar sign; choose another (state, HEALTHD_STATE)"
            )
        }
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "/"
        if let obstacle = user.obstacle(to: parent, access: ServerUser.access) {
            throw EmbeddedServerError(
                "the user \(user.name), who runs the private servers because we are root, cannot enter \(obstacle); choose another state folder (state, HEALTHD_STATE), or chmod o+x \(obstacle)"
            )
        }
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            throw EmbeddedServerError("\(path) cannot be made: \(String(cString: strerror(errno)))")
        }
        if user.isSwitched { lchown(path, user.uid, user.gid) }
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == user.uid else {
            throw EmbeddedServerError(
                "\(path) does not belong to \(user.name), who is to run a private server there; remove it, or choose another state folder (state, HEALTHD_STATE)"
            )
        }
        chmod(path, 0o700)
    }

    /// Writes a file for the server, whole or not at all.
    func write(_ text: String, to name: String) throws(EmbeddedServerError) {
        let file = "\(path)/\(name)"
        let temporary = "\(file).new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw EmbeddedServerError("\(temporary) cannot be made: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        if user.isSwitched { fchown(descriptor, user.uid, user.gid) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, rename(temporary, file) == 0 else {
            throw EmbeddedServerError("\(file) cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    func read(_ name: String) -> String? {
        guard case .text(let text) = readFile("\(path)/\(name)", limit: 1 << 20) else { return nil }
        return text
    }

    /// Signals in order, each with its own time, until every process is gone; `signals` should end in SIGKILL.
    ///
    /// Goes on when the task is cancelled: a stop that is given up leaves strays.
    /// - Returns: false when something outlived the last signal.
    @discardableResult
    func end(_ processes: [RunningProcess], with signals: [(Int32, Duration)]) async -> Bool {
        var running = processes
        for (number, patience) in signals {
            for process in running {
                process.signal(number)
                // A stopped process takes no signal but this one and SIGKILL.
                if number != SIGKILL { process.signal(SIGCONT) }
            }
            let giveUpAt = time.now() + patience
            repeat {
                running.removeAll { !$0.isRunning }
                if running.isEmpty { return true }
                await nap()
            } while time.now() < giveUpAt
        }
        return false
    }
}

/// 10 ms that a cancelled task sleeps, too: who stops servers has to see them gone.
func nap() async {
    await withCheckedContinuation { continuation in
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(10)) { continuation.resume() }
    }
}

/// Removes a folder and all below it, without following links.
func removeFolder(_ path: String) {
    for name in entries(of: path) {
        let item = "\(path)/\(name)"
        var status = stat()
        guard lstat(item, &status) == 0 else { continue }
        if status.st_mode & S_IFMT == S_IFDIR { removeFolder(item) } else { unlink(item) }
    }
    rmdir(path)
}
