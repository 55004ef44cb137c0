import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// The state folder, ours alone for as long as this value lives: two daemons over one folder would each undo the other's work.
final class StateFolder: Sendable {
    /// Absolute, without symbolic links.
    let path: String
    private let lock: Int32

    /// Creates the folder where it is missing, and locks it. The lock ends with the process, however that ends.
    ///
    /// - Parameter mode: of a folder created now. `0o711` lets the servers' user pass through without letting it look around.
    /// - Throws: `EmbeddedServerError` when it cannot be made, or another healthd has it.
    init(_ path: String, mode: UInt32 = 0o700) throws(EmbeddedServerError) {
        try Self.create(path, mode: mode)
        guard let resolved = realpath(path, nil) else {
            throw EmbeddedServerError("the state folder \(path) cannot be found: \(Self.reason())")
        }
        self.path = String(cString: resolved)
        free(resolved)
        let file = "\(self.path)/healthd.lock"
        lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw EmbeddedServerError("the state folder \(path) cannot be written to: \(Self.reason())", isOfTheDisk: true) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            var holder = ""
            if case .text(let text) = readFile(file, limit: 32) { holder = text.filter(\.isNumber) }
            close(lock)
            throw EmbeddedServerError(
                number == EWOULDBLOCK
                    ? "another healthd\(holder.isEmpty ? "" : " (process \(holder))") uses the state folder \(path); give this one a folder of its own (state, HEALTHD_STATE)"
                    : "the state folder \(path) cannot be locked: \(String(cString: strerror(number)))", isOfTheDisk: number != EWOULDBLOCK)
        }
        let text = "\(getpid())\n"
        ftruncate(lock, 0)
        pwrite(lock, text, text.utf8.count, 0)
    }

    deinit { close(lock) }

    private static func create(_ path: String, mode: UInt32) throws(EmbeddedServerError) {
        var folder = ""
        for part in path.split(separator: "/") {
            folder += "/\(part)"
            if mkdir(folder, folder == path ? mode : 0o755) == 0 {
                // The umask has had its say in mkdir; this folder's mode is meant.
                if folder == path { chmod(folder, mode) }
            } else if errno != EEXIST {
                let isOfTheDisk = [EROFS, ENOSPC, EDQUOT, EIO].contains(errno)
                throw EmbeddedServerError(
                    "the state folder \(path) cannot be made: \(folder): \(reason()); choose another (state, HEALTHD_STATE)",
                    isOfTheDisk: isOfTheDisk)
            }
        }
    }

    private static func reason() -> String { String(cString: strerror(errno)) }
}

/// The state folder of a daemon that can do without it for a while: taken as soon as it can be had, and kept.
final class LateStateFolder: Sendable {
    private let path: String
    private let folder: Mutex<StateFolder?>

    init(_ path: String, _ folder: StateFolder? = nil) {
        self.path = path
        self.folder = Mutex(folder)
    }

    /// - Throws: what stands in the way; another healthd may have taken the folder meanwhile.
    func take() throws(EmbeddedServerError) {
        guard folder.withLock({ $0 == nil }) else { return }
        let taken = try StateFolder(path)
        folder.withLock { $0 = taken }
    }
}
