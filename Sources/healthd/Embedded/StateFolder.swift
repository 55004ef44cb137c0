import Synchronization
import Vitals

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
    init(_ path: String, mode: UInt32 = 0o700) throws(StateFolderError) {
        try Self.create(path, mode: mode)
        guard let resolved = realpath(path, nil) else {
            throw StateFolderError("the state folder \(path) cannot be found: \(Self.reason())")
        }
        self.path = String(cString: resolved)
        free(resolved)
        let file = Self.lockFile(in: self.path)
        lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else {
            let (number, reason) = (errno, Self.reason())
            if number == ENOTDIR { throw StateFolderError("the state folder \(path) is no folder; choose another (state, HEALTHD_STATE)") }
            // A disk that takes no more writes still shows whose the folder is.
            let reader = open(file, O_RDONLY | O_CLOEXEC)
            defer { if reader >= 0 { close(reader) } }
            if reader >= 0, flock(reader, LOCK_SH | LOCK_NB) != 0, errno == EWOULDBLOCK { throw Self.isTaken(path, lockFile: file) }
            throw StateFolderError("the state folder \(path) cannot be written to: \(reason)", .disk)
        }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            close(lock)
            if number == EWOULDBLOCK { throw Self.isTaken(path, lockFile: file) }
            throw StateFolderError("the state folder \(path) cannot be locked: \(String(cString: strerror(number)))", .disk)
        }
        let text = "\(getpid())\n"
        ftruncate(lock, 0)
        pwrite(lock, text, text.utf8.count, 0)
    }

    deinit { close(lock) }

    /// Whether the folder and its lock are still those that were taken: somebody may have deleted them.
    var isThere: Bool {
        var (ours, present) = (stat(), stat())
        guard fstat(lock, &ours) == 0, stat(Self.lockFile(in: path), &present) == 0 else { return false }
        return ours.st_dev == present.st_dev && ours.st_ino == present.st_ino
    }

    private static func lockFile(in path: String) -> String { "\(path)/healthd.lock" }

    private static func isTaken(_ path: String, lockFile: String) -> StateFolderError {
        var process = ""
        if case .text(let text) = readFile(lockFile, limit: 32) { process = text.filter(\.isNumber) }
        return StateFolderError(
            "another healthd\(process.isEmpty ? "" : " (process \(process))") uses the state folder \(path); give this one a folder of its own (state, HEALTHD_STATE)",
            .anotherProcess)
    }

    private static func create(_ path: String, mode: UInt32) throws(StateFolderError) {
        var folder = ""
        for part in path.split(separator: "/") {
            folder += "/\(part)"
            if mkdir(folder, folder == path ? mode : 0o755) == 0 {
                // The umask has had its say in mkdir; this folder's mode is meant.
                if folder == path { chmod(folder, mode) }
            } else if errno != EEXIST {
                throw StateFolderError(
                    "the state folder \(path) cannot be made: \(folder): \(reason()); choose another (state, HEALTHD_STATE)",
                    [EROFS, ENOSPC, EDQUOT, EIO].contains(errno) ? .disk : .setting)
            }
        }
    }

    private static func reason() -> String { String(cString: strerror(errno)) }
}

/// Why the state folder cannot be had, for an operator.
struct StateFolderError: Error, Sendable, Hashable, CustomStringConvertible {
    enum Cause: Sendable, Hashable {
        /// The disk takes nothing, or not from us. That may pass.
        case disk
        case anotherProcess
        /// There can be no such folder: a wrong setting.
        case setting
    }

    var description: String
    var cause: Cause

    init(_ description: String, _ cause: Cause = .setting) {
        self.description = description
        self.cause = cause
    }
}

/// The state folder of a daemon that can do without it for a while: taken as soon as it can be had, and again when somebody deleted it.
final class LateStateFolder: Sendable {
    private let path: String
    private let mode: UInt32
    private let folder: Mutex<StateFolder?>

    init(_ path: String, mode: UInt32, _ folder: StateFolder?) {
        self.path = path
        self.mode = mode
        self.folder = Mutex(folder)
    }

    /// - Throws: what stands in the way; another healthd may have taken the folder meanwhile.
    func take() throws {
        if folder.withLock({ $0?.isThere ?? false }) { return }
        do throws(StateFolderError) {
            let taken = try StateFolder(path, mode: mode)
            folder.withLock { $0 = taken }
        } catch {
            if error.cause == .anotherProcess { throw LocalStore.InUse(error.description) }
            throw error
        }
    }
}
