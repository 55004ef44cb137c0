import Logging
import Synchronization
import Vitals

/// Tells the service manager how we are: ready, one status line, the watchdog's pings, stopping, reloading.
///
/// Without `NOTIFY_SOCKET` every call does nothing. No call blocks; a notice the manager has no room for is sent by `run` later, any other
/// failure is counted and logged once.
final class SystemdNotifier: Sendable {
    private struct State {
        var status = StatusThrottle()
        var statusText = ""
        /// Stands before any other status while a part is stalled.
        var stall: WatchdogGate.Stall?
        /// Notices that change the unit's state, in order, that found the queue full.
        var unsent: [String] = []
        var hasLoggedFailure = false
    }

    private let socket: NotifySocket?
    private let watchdogTimeout: Duration?
    private let time: any TimeSource
    private let logger: Logger
    private let state = Mutex(State())

    /// Notices that could not be sent.
    let failures = Counter()
    let pings = Counter()
    let pingsWithheld = Counter()

    /// The time after which a silent service is killed; nil when no watchdog is meant for us.
    var watchdogInterval: Duration? { watchdogTimeout }

    /// Leaves room for `STATUS=` in a datagram.
    private static let longestStatus = 4_000
    private static let mostUnsent = 16

    init(_ environment: SystemdEnvironment, time: any TimeSource, logger: Logger) {
        socket = environment.notifyAddress.flatMap(NotifySocket.init)
        watchdogTimeout = environment.watchdog
        self.time = time
        self.logger = logger
        if socket == nil, environment.notifyAddress != nil {
            failures.add()
            logger.error("no socket for notices to systemd; the unit will not become ready")
        }
    }

    /// Whether a manager listens.
    var isActive: Bool { socket != nil }

    /// Listeners are bound, credentials read, the state opened. Also ends a reload, in every path.
    func ready() { send("READY=1") }

    func stopping() { send("STOPPING=1") }

    /// Must be followed by `ready()`, also when the reload fails: until then `systemctl reload` waits.
    func reloading() { send("RELOADING=1\nMONOTONIC_USEC=\(time.now().nanoseconds / 1_000)") }

    /// Asks for `duration` more, from now, before a start, reload or stop counts as timed out.
    func extendTimeout(by duration: Duration) { send("EXTEND_TIMEOUT_USEC=\(max(0, duration.nanoseconds / 1_000))") }

    /// One ping. `run` sends them; only a test or a loop of its own calls this.
    func watchdog() { send("WATCHDOG=1", mayWait: false) }

    /// Asks to be killed and restarted now, as if the watchdog had run out.
    func triggerWatchdog() { send("WATCHDOG=trigger") }

    /// The line `systemctl status` shows. Any text will do: it becomes one line of at most 4,000 bytes. Sent on change, once a second at most;
    /// of several within a second the last is sent when it is over.
    func status(_ text: String) {
        let line = Self.line(text)
        offer { $0.statusText = line }
    }

    /// Pings as long as every part makes progress, sends what had to wait, and returns when cancelled.
    ///
    /// - Parameter parts: read on each turn; must not block.
    func run(parts: @escaping @Sendable () -> [WatchdogGate.Part]) async {
        var gate = watchdogTimeout.map(WatchdogGate.init)
        let interval = min(gate?.interval ?? .seconds(1), .seconds(1))
        while !Task.isCancelled {
            turn(&gate, parts: parts)
            do { try await time.sleep(for: interval) } catch { return }
        }
    }

    private func turn(_ gate: inout WatchdogGate?, parts: () -> [WatchdogGate.Part]) {
        guard isActive else { return }
        resend()
        switch gate?.turn(parts: parts(), now: time.now()) {
        case nil: flushStatus()
        case .ping?:
            if let stall = state.withLock({ $0.stall }) {
                logger.warning("the stalled part makes progress again", metadata: ["part": "\(stall.part)"])
            }
            offer { $0.stall = nil }
            watchdog()
            pings.add()
        case .withhold(let stall)?:
            report(stall)
            pingsWithheld.add()
        case .trigger(let stall)?:
            report(stall)
            logger.critical("asking systemd for a restart", metadata: ["part": "\(stall.part)", "age": "\(stall.age.text)"])
            triggerWatchdog()
        }
    }

    private func report(_ stall: WatchdogGate.Stall) {
        let isNew = state.withLock { $0.stall?.part != stall.part }
        if isNew {
            logger.error(
                "watchdog ping withheld: a part is stalled",
                metadata: ["part": "\(stall.part)", "age": "\(stall.age.text)", "limit": "\(stall.limit.text)"])
        }
        offer { $0.stall = stall }
    }

    private func offer(_ change: (inout State) -> Void) {
        guard socket != nil else { return }
        let now = time.now()
        let due = state.withLock { state -> String? in
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
        if let due = state.withLock({ $0.status.due(now: now) }) { sendStatus(due) }
    }

    private func sendStatus(_ line: String) {
        if !send("STATUS=\(line)", mayWait: false) { state.withLock { $0.status.giveBack(line) } }
    }

    /// In order: a notice that has to wait makes the later ones wait.
    private func resend() {
        while let next = state.withLock({ $0.unsent.first }) {
            guard let outcome = socket?.send(next), outcome != .full else { return }
            state.withLock { state in
                if state.unsent.first == next { state.unsent.removeFirst() }
            }
            if case .failed(let number) = outcome { noteFailure(number) }
        }
    }

    /// - Parameter mayWait: whether the notice is kept for `run` when the manager's queue is full.
    /// - Returns: false when it was neither sent nor kept.
    @discardableResult
    private func send(_ text: String, mayWait: Bool = true) -> Bool {
        guard let socket else { return true }
        let mustQueue = mayWait && state.withLock { !$0.unsent.isEmpty }
        switch mustQueue ? .full : socket.send(text) {
        case .sent: return true
        case .failed(let number): noteFailure(number)
        case .full where mayWait && state.withLock({ $0.unsent.count < Self.mostUnsent }):
            state.withLock { $0.unsent.append(text) }
            return true
        case .full: noteFailure(nil)
        }
        return false
    }

    private func noteFailure(_ number: Int32?) {
        failures.add()
        let isFirst = state.withLock { state in
            defer { state.hasLoggedFailure = true }
            return !state.hasLoggedFailure
        }
        if isFirst {
            logger.warning(
                "a notice to systemd was not sent; further failures are only counted",
                metadata: ["errno": "\(number.map(String.init) ?? "queue full")"])
        }
    }

    /// Without what would start a new field or clear the text: control characters of both sets and Unicode's own line ends.
    private static func line(_ text: String) -> String {
        let clean = text.unicodeScalars.map { scalar -> Character in
            (0x80...0x9F).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029 ? " " : Character(scalar)
        }
        return String(clean).oneLine(limit: longestStatus)
    }
}
