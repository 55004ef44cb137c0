import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// What systemd tells a service through its environment.
///
/// Source: systemd 252, sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3).
struct SystemdEnvironment: Sendable, Hashable {
    /// Whether somebody listens to notices.
    var isNotified = false
    /// The time after which a silent service is killed; nil when no watchdog is meant for this process.
    var watchdog: Duration?
    /// Names of sockets that were passed and closed: we open our own.
    var unusedSockets: [String] = []

    static let none = SystemdEnvironment()

    private init() {}

    /// Of this process: the sockets passed to it are closed, and what speaks to it alone is taken out of its environment, except for
    /// NOTIFY_SOCKET, where sd_notify() looks each time. No child inherits any of it: each is given an environment of its own.
    ///
    /// Call before the first thread and the first child.
    static func ofThisProcess(_ variables: [String: String]) throws(ConfigurationProblems) -> SystemdEnvironment {
        var environment = try SystemdEnvironment(variables, watchdog: Libsystemd.watchdog())
        for socket in Libsystemd.passedSockets() {
            environment.unusedSockets.append(socket.name)
            close(socket.descriptor)
        }
        for name in ["WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        return environment
    }

    /// - Throws: a problem for each variable that is set but makes no sense: a watchdog that is asked for and not served would kill us.
    init(_ variables: [String: String], watchdog: Libsystemd.Watchdog) throws(ConfigurationProblems) {
        var problems: [ConfigurationProblem] = []
        func complain(_ name: String, _ expected: String) {
            let text = "is \"\((variables[name] ?? "").oneLine(limit: 120))\"; expected \(expected)"
            problems.append(ConfigurationProblem(key: name, origin: .environment(name), text: text))
        }
        if let address = variables["NOTIFY_SOCKET"], !address.isEmpty {
            // The path and its terminating zero, or the zero in front and the name, fill sun_path.
            let isPath = address.hasPrefix("/") && address.utf8.count <= 107
            let isName = address.hasPrefix("@") && (2...108).contains(address.utf8.count)
            isNotified = isPath || isName
            if !isNotified { complain("NOTIFY_SOCKET", "an absolute path or @name of at most 107 bytes") }
        }
        switch watchdog {
        case .off: break
        case .within(let time): self.watchdog = isNotified ? time : nil
        case .senseless:
            // libsystemd does not say which of the two it is.
            if let text = variables["WATCHDOG_PID"], Int32(text).map({ $0 <= 0 }) ?? true { complain("WATCHDOG_PID", "a process id") }
            let microseconds = variables["WATCHDOG_USEC"].flatMap { UInt64($0) } ?? 0
            if problems.isEmpty || microseconds == 0 { complain("WATCHDOG_USEC", "a number of microseconds above 0") }
        }
        guard problems.isEmpty else { throw ConfigurationProblems(problems) }
    }
}
