import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// What systemd tells a service through its environment.
///
/// Source: systemd 252, sd_notify(3) and sd_watchdog_enabled(3).
struct SystemdEnvironment: Sendable, Hashable {
    enum NotifyAddress: Sendable, Hashable {
        case path(String)
        /// In the abstract namespace, without its leading `@`.
        case abstract(String)
    }

    /// Where notices go; nil when nobody listens.
    var notifyAddress: NotifyAddress?
    /// The time after which a silent service is killed; nil when no watchdog is meant for this process.
    var watchdog: Duration?

    /// The variables that speak to this process alone: a child that inherited them could answer in our name.
    static let variables = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]

    static let none = SystemdEnvironment()

    private init() {}

    /// - Throws: a problem for each variable that is set but makes no sense: a watchdog that is asked for and not served would kill us.
    init(_ environment: [String: String], processID: Int32) throws(ConfigurationProblems) {
        var problems: [ConfigurationProblem] = []
        func complain(_ name: String, _ expected: String) {
            let text = "is \"\((environment[name] ?? "").oneLine(limit: 120))\"; expected \(expected)"
            problems.append(ConfigurationProblem(key: name, origin: .environment(name), text: text))
        }
        if let text = environment["NOTIFY_SOCKET"], !text.isEmpty {
            // The path and its terminating zero, or the zero in front and the name, fill sun_path.
            let fits = text.utf8.count <= (text.hasPrefix("@") ? 108 : 107)
            if text.hasPrefix("/"), fits {
                notifyAddress = .path(text)
            } else if text.hasPrefix("@"), text.utf8.count > 1, fits {
                notifyAddress = .abstract(String(text.dropFirst()))
            } else {
                complain("NOTIFY_SOCKET", "an absolute path or @name of at most 107 bytes")
            }
        }
        var isForUs = true
        if let text = environment["WATCHDOG_PID"] {
            if let pid = Int32(text), pid > 0 { isForUs = pid == processID } else { complain("WATCHDOG_PID", "a process id") }
        }
        if let text = environment["WATCHDOG_USEC"] {
            // sd_watchdog_enabled() refuses zero and infinity in the same way.
            if let microseconds = Int64(text), microseconds > 0, microseconds < Int64.max / 1_000 {
                if isForUs { watchdog = .microseconds(microseconds) }
            } else {
                complain("WATCHDOG_USEC", "a number of microseconds above 0")
            }
        }
        guard problems.isEmpty else { throw ConfigurationProblems(problems) }
        if notifyAddress == nil { watchdog = nil }
    }

    /// Removes the variables from this process's environment. Call before the first child and while nothing else reads the environment.
    static func forgetVariables() {
        for name in variables { unsetenv(name) }
    }
}
