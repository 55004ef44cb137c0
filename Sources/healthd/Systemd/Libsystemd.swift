import CSystemd
import Glibc
import Vitals

/// All that we use of libsystemd, and the only file that imports it.
enum Libsystemd {
    /// Tells the service manager, whose socket NOTIFY_SOCKET names. Waits while its queue is full: for an `Outlet`'s thread only.
    ///
    /// `sd_pid_notify_with_fds()` is the same call with descriptors for the manager to keep; we have none to give yet.
    ///
    /// - Returns: nil when it was sent, else the error's number; 0 when there is nobody to tell.
    static func notify(_ text: String) -> Int32? {
        let result = sd_notify(0, text)
        return result > 0 ? nil : -result
    }

    /// The answer of sd_watchdog_enabled(3).
    enum Watchdog: Sendable, Hashable {
        /// None is meant for this process.
        case off
        /// Silent for this long, the service is killed.
        case within(Duration)
        /// Its variables make no sense.
        case senseless
    }

    static func watchdog() -> Watchdog {
        var microseconds: UInt64 = 0
        let result = sd_watchdog_enabled(0, &microseconds)
        guard result != 0 else { return .off }
        guard result > 0, microseconds > 0, microseconds < UInt64(Int64.max / 1_000) else { return .senseless }
        return .within(.microseconds(Int64(microseconds)))
    }

    /// A socket that the service manager opened for us.
    struct PassedSocket: Sendable, Hashable {
        var descriptor: Int32
        var name: String
    }

    /// What was passed, closed on exec from here on; none when LISTEN_PID means another process.
    static func passedSockets() -> [PassedSocket] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(0, &names)
        guard count > 0, let names else { return [] }
        defer { free(names) }
        return (0..<Int(count)).map { index in
            let name = names[index].map { String(cString: $0) } ?? ""
            free(names[index])
            return PassedSocket(descriptor: SD_LISTEN_FDS_START + Int32(index), name: name)
        }
    }

    /// Where journald listens, as libsystemd has it built in.
    static let journalSocket = "/run/systemd/journal/socket"

    /// Makes an entry of the journal from fields, each `NAME=value`. Waits while journald does not read.
    ///
    /// - Returns: false when journald did not take it.
    static func writeToJournal(_ fields: [[UInt8]]) -> Bool {
        // In a root of our own (RootDirectory=, chroot, a container) there may be none, and libsystemd says of the entry that is then lost that it
        // was written. Looked for each time, since it comes and goes; it costs a microsecond.
        // Source: systemd 252, src/libsystemd/sd-journal/journal-send.c, "Fail silently if the journal is not available".
        guard access(journalSocket, F_OK) == 0 else { return false }
        var bytes = Array(fields.joined())
        return bytes.withUnsafeMutableBytes { bytes in
            var offset = 0
            let vectors = fields.map { field in
                defer { offset += field.count }
                return iovec(iov_base: bytes.baseAddress.map { $0 + offset }, iov_len: field.count)
            }
            return sd_journal_sendv(vectors, Int32(vectors.count)) >= 0
        }
    }
}
