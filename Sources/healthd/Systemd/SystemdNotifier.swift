import Logging
import Synchronization
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// Tells the service manager how we are: ready, one status line, the watchdog's pings, stopping, reloading.
///
/// Without `NOTIFY_SOCKET` every call does nothing. No call waits for the manager: a thread of its own does, and sends what is still worth
/// it (`NoticeQueue`). What could not be sent is counted; when that begins and when it is over, the log says so.
final class SystemdNotifier: Sendable {
    private struct State {
        var status = StatusThrottle()
        var statusText = ""
        /// Stands before any other status while a part is stalled.
        var stall: WatchdogGate.Stall?
        /// Notices that could not be sent since one was; nil while they are sent.
        var failing: Int?
        var isReady = false
        var isStopping = false
    }

    /// What the sending thread shares with the notifier, which it does not keep alive.
    private final class Shared: Sendable {
        let state = Mutex(State())
        let failures = Counter()
        let pings = Counter()
        let logger: Logger

        init(logger: Logger) {
            self.logger = logger
        }

        func noteFailure(_ reason: String) {
            failures.add()
            let isFirst = state.withLock { state in
                defer { state.failing = (state.failing ?? 0) + 1 }
                return state.failing == nil
            }
            if isFirst {
                logger.warning("a notice to systemd was not sent; until one is, further ones are only counted", metadata: ["reason": "\(reason)"])
            }
        }

        func noteSuccess() {
            let failed = state.withLock { state in
                defer { state.failing = nil }
                return state.failing
            }
            if let failed { logger.warning("notices to systemd are sent again", metadata: ["failed": "\(failed)"]) }
        }
    }

    private let shared: Shared
    /// Nil when nobody listens.
    private let outlet: Outlet<NoticeQueue>?
    private let watchdogTimeout: Duration?
    private let time: any TimeSource
    private let logger: Logger

    /// Notices that could not be sent. One that a newer one overtook while systemd did not read is not among them.
    var failures: Int { shared.failures.value }
    /// Pings that systemd has taken.
    var pings: Int { shared.pings.value }
    let pingsWithheld = Counter()

    /// The time after which a silent service is killed; nil when no watchdog is meant for us.
    var watchdogInterval: Duration? { watchdogTimeout }

    /// Leaves room for `STATUS=` in a datagram.
    private static let longestStatus = 4_000

    /// - Parameter send: sends one notice, however long that takes; answers nil, or the number of the error.
    init(
        _ environment: SystemdEnvironment, time: any TimeSource, logger: Logger, send: @escaping @Sendable (String) -> Int32? = Libsystemd.notify
    ) {
        let shared = Shared(logger: logger)
        self.shared = shared
        self.time = time
        self.logger = logger
        watchdogTimeout = environment.watchdog
        let gate = environment.watchdog.map(WatchdogGate.init)
        outlet =
            environment.isNotified
            ? Outlet(NoticeQueue(pingLifetime: gate?.interval ?? .seconds(1)), name: "notices", time: time) { notice in
                if let number = send(notice.text) {
                    shared.noteFailure(number == 0 ? "nobody listens" : String(cString: strerror(number)))
                    if notice.kind == .status { shared.state.withLock { $0.status.giveBack(String(notice.text.dropFirst(7))) } }
                } else {
                    if notice.kind == .ping { shared.pings.add() }
                    shared.noteSuccess()
                }
            } : nil
    }

    /// Whether a manager listens.
    var isActive: Bool { outlet != nil }

    /// Waits until everything is sent, at most for `limit`.
    func flush(within limit: Duration) { outlet?.flush(within: limit) }

    /// The start is over: we listen. Not told once we stop.
    func ready() {
        let isStopping = shared.state.withLock { state in
            state.isReady = true
            return state.isStopping
        }
        if !isStopping { add(.ready, "READY=1") }
    }

    /// We have been asked to end, or end by ourselves. Told once, however often it is said.
    func stopping() {
        let isFirst = shared.state.withLock { state in
            defer { state.isStopping = true }
            return !state.isStopping
        }
        if isFirst { add(.stopping, "STOPPING=1") }
    }

    /// Must be followed by `reloaded()`, also when the reload fails: until then `systemctl reload` waits. A reload that somebody asks for during
    /// the start is not told of, since its end would be told as that of the start.
    func reloading() {
        guard shared.state.withLock({ $0.isReady && !$0.isStopping }) else { return }
        add(.reloading, "RELOADING=1\nMONOTONIC_USEC=\(time.now().nanoseconds / 1_000)")
    }

    func reloaded() {
        guard shared.state.withLock({ $0.isReady && !$0.isStopping }) else { return }
        add(.ready, "READY=1")
    }

    /// One ping; `run` sends them.
    func watchdog() { add(.ping, "WATCHDOG=1") }

    /// Asks to be killed and restarted now, as if the watchdog had run out.
    func triggerWatchdog() { add(.trigger, "WATCHDOG=trigger") }

    /// The line `systemctl status` shows. Any text will do: it becomes one line of at most 4,000 bytes. Sent on change, once a second at most;
    /// of several within a second the last is sent when it is over.
    func status(_ text: String) {
        let line = Self.line(text)
        offer { $0.statusText = line }
    }

    /// Pings as long as every part makes progress, keeps the status line true, and returns when cancelled.
    ///
    /// - Parameter parts: read at each look; must not block.
    func run(parts: @escaping @Sendable () -> [WatchdogGate.Part]) async {
        var gate = watchdogTimeout.map(WatchdogGate.init)
        let interval = min(gate?.interval ?? .seconds(1), .seconds(1))
        while !Task.isCancelled {
            look(at: parts, by: &gate)
            do { try await time.sleep(for: interval) } catch { return }
        }
    }

    private func look(at parts: () -> [WatchdogGate.Part], by gate: inout WatchdogGate?) {
        guard isActive else { return }
        switch gate?.look(at: parts(), now: time.now()) {
        case nil: flushStatus()
        case .ping?:
            if let stall = shared.state.withLock({ $0.stall }) {
                logger.warning("the stalled part makes progress again", metadata: ["part": "\(stall.part)"])
            }
            offer { $0.stall = nil }
            watchdog()
        case .withhold(let stall)?:
            withdrawPing()
            report(stall)
            pingsWithheld.add()
        case .trigger(let stall)?:
            withdrawPing()
            report(stall)
            logger.critical("asking systemd for a restart", metadata: ["part": "\(stall.part)", "age": "\(stall.age.text)"])
            triggerWatchdog()
        }
    }

    private func report(_ stall: WatchdogGate.Stall) {
        let isNew = shared.state.withLock { $0.stall?.part != stall.part }
        if isNew {
            logger.error(
                "watchdog ping withheld: a part is stalled",
                metadata: ["part": "\(stall.part)", "age": "\(stall.age.text)", "limit": "\(stall.limit.text)"])
        }
        offer { $0.stall = stall }
    }

    private func offer(_ change: (inout State) -> Void) {
        guard isActive else { return }
        let now = time.now()
        let due = shared.state.withLock { state -> String? in
            change(&state)
            let text =
                state.stall.map { Self.line("stalled: \($0)\(state.statusText.isEmpty ? "" : "; ")\(state.statusText)") }
                ?? state.statusText
            return text.isEmpty ? nil : state.status.offer(text, now: now)
        }
        if let due { sendStatus(due) }
    }

    private func flushStatus() {
        let now = time.now()
        if let due = shared.state.withLock({ $0.status.due(now: now) }) { sendStatus(due) }
    }

    private func sendStatus(_ line: String) { add(.status, "STATUS=\(line)") }

    /// One that waits to be sent is not true any more.
    private func withdrawPing() { outlet?.change { $0.withdraw(.ping) } }

    private func add(_ kind: NoticeQueue.Kind, _ text: String) {
        let now = time.now()
        outlet?.change { $0.add(kind, text, now: now) }
    }

    /// Without what would start a new field or clear the text: control characters of both sets and Unicode's own line ends.
    private static func line(_ text: String) -> String {
        LogLine.oneLine(text).oneLine(limit: longestStatus)
    }
}
