#if canImport(Glibc)
    import Glibc
#endif

/// Who runs the private servers: ourselves, or an unprivileged user when we are root (PostgreSQL refuses root).
struct ServerUser: Sendable, Hashable {
    var name: String
    var uid: UInt32
    var gid: UInt32
    /// Whether it differs from who we are, so that files must be handed over and processes switched.
    var isSwitched: Bool

    static func current() throws(EmbeddedServerError) -> ServerUser {
        guard geteuid() == 0 else {
            return ServerUser(name: lookUp(uid: geteuid()) ?? "uid \(geteuid())", uid: geteuid(), gid: getegid(), isSwitched: false)
        }
        for name in ["postgres", "nobody"] {
            if let (uid, gid) = lookUp(name: name), uid != 0 { return ServerUser(name: name, uid: uid, gid: gid, isSwitched: true) }
        }
        throw EmbeddedServerError("PostgreSQL must not run as root, and there is neither a user postgres nor nobody to run it as")
    }

    private static func lookUp(name: String) -> (uid: UInt32, gid: UInt32)? {
        withEntry {
            getpwnam_r(name, $0, $1, $2, $3)
        } read: {
            ($0.pw_uid, $0.pw_gid)
        }
    }

    private static func lookUp(uid: UInt32) -> String? {
        withEntry {
            getpwuid_r(uid, $0, $1, $2, $3)
        } read: {
            String(cString: $0.pw_name)
        }
    }

    private static func withEntry<R>(
        _ find: (
            UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int, UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
        ) -> Int32,
        read: (passwd) -> R
    ) -> R? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16_384)
        let length = buffer.count
        return buffer.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, find(&entry, base, length, &found) == 0, found != nil else { return nil }
            return read(entry)
        }
    }
}

extension ServerUser {
    /// Owner, group and permissions of one folder.
    struct Access: Sendable, Hashable {
        var owner: UInt32
        var group: UInt32
        var mode: UInt32
    }

    /// The topmost folder on the way to `path` (itself included) that the user cannot enter; nil when there is none.
    ///
    /// - Parameter access: of a folder; nil when it is not there, which is no obstacle of this kind.
    func obstacle(to path: String, access: (String) -> Access?) -> String? {
        var folder = ""
        for part in ["/"] + path.split(separator: "/").map({ "/\($0)" }) {
            folder = part == "/" ? "/" : (folder == "/" ? part : folder + part)
            guard let access = access(folder) else { continue }
            let bit: UInt32 = access.owner == uid ? 0o100 : access.group == gid ? 0o010 : 0o001
            if access.mode & bit == 0 { return folder }
        }
        return nil
    }

    static func access(_ folder: String) -> Access? {
        var status = stat()
        guard stat(folder, &status) == 0 else { return nil }
        return Access(owner: status.st_uid, group: status.st_gid, mode: status.st_mode)
    }
}

/// Why no private server could be started or stopped, for an operator.
struct EmbeddedServerError: Error, Sendable, Hashable, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}
