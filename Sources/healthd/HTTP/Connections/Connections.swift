import Logging
import NIOCore
import Synchronization
import Vitals

/// The HTTP connections there are: lets them in, ends those whose time is over, and tells when there are too many.
final class Connections: Sendable {
    typealias Book = ConnectionBook<ObjectIdentifier>

    struct Snapshot: Sendable {
        var maximum = 0
        /// Whether descriptors are what bounds them.
        var isShortOfDescriptors = false
        var phases: [Book.Phase: Int] = [:]
        var ended: [ConnectionEnd: Int] = [:]
        var acceptFailures: [AcceptFailure: Int] = [:]
        /// Clients in the kernel's queue; nil before the first look.
        var waiting: Int?
        /// For how long in all they waited and nobody could make room.
        var waited = Duration.zero

        var count: Int { phases.values.reduce(0, +) }
    }

    private struct State {
        var book: Book
        var channels: [ObjectIdentifier: any Channel] = [:]
        var listener: (any Channel)?
        var waiting: Int?
        var log = CrowdLog()
        var lastSweep: MonotonicInstant
        /// Since when the server has been stopping.
        var stopping: MonotonicInstant?
    }

    private static let beat = Duration.seconds(1)
    /// The longest an honest machine, however busy, lets pass between two looks.
    static let cycle = Duration.seconds(10)
    private static let beatWhileStopping = Duration.milliseconds(100)

    private let budget: DescriptorBudget
    private let state: Mutex<State>
    private let ended = LabelledCounter(known: ConnectionEnd.allCases)
    private let acceptFailures = LabelledCounter(known: AcceptFailure.allCases)
    private let time: any TimeSource
    private let logger: Logger

    init(_ budget: DescriptorBudget, patience: ConnectionPatience = ConnectionPatience(), time: any TimeSource, logger: Logger) {
        self.budget = budget
        state = Mutex(State(book: Book(maximum: budget.connections, patience: patience), lastSweep: time.now()))
        self.time = time
        self.logger = logger
    }

    /// Ends connections whose time is over, until cancelled.
    func run() async {
        while (try? await time.sleep(for: Self.beat)) != nil { sweep() }
    }

    /// The server stops: from now on, until cancelled, nobody may keep it waiting.
    func letGo() async {
        let now = time.now()
        state.withLock { $0.stopping = $0.stopping ?? now }
        repeat { sweep() } while (try? await time.sleep(for: Self.beatWhileStopping)) != nil
    }

    func snapshot() -> Snapshot {
        let (ended, failures) = (ended.values, acceptFailures.values)
        return state.withLock { state in
            Snapshot(
                maximum: state.book.maximum, isShortOfDescriptors: budget.isShort, phases: state.book.phases, ended: ended, acceptFailures: failures,
                waiting: state.waiting, waited: state.log.waited)
        }
    }

    /// When connections were last looked through.
    var lastSweep: MonotonicInstant { state.withLock { $0.lastSweep } }

    // MARK: Coming and going

    func accepts(on listener: any Channel) { state.withLock { $0.listener = listener } }

    /// Whether there is room for one more, or somebody who would make it.
    var mayAdmit: Bool {
        let now = time.now()
        return state.withLock { $0.book.mayAdmit(now: now) }
    }

    /// - Returns: false when it is to be closed at once.
    func admit(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let now = time.now()
        let (admission, victim, line) = state.withLock { state -> (Book.Admission, (any Channel)?, CrowdLog.Line?) in
            let admission = state.book.admit(id, now: now)
            if admission != .refused { state.channels[id] = channel }
            state.log.letIn()
            var victim: (any Channel)?
            if case .insteadOf(let other) = admission { victim = state.channels.removeValue(forKey: other) }
            return (admission, victim, state.log.counted(state.book.count, of: state.book.maximum))
        }
        tell(line)
        if let victim { end(victim, .madeRoom) }
        switch admission {
        case .known: return true
        case .refused:
            count(.refused)
            return false
        case .welcome, .insteadOf:
            channel.closeFuture.whenComplete { [self] _ in forget(id) }
            return true
        }
    }

    private func forget(_ id: ObjectIdentifier) {
        state.withLock { state in
            state.book.closed(id)
            state.channels[id] = nil
        }
    }

    private func end(_ channel: any Channel, _ reason: ConnectionEnd) {
        count(reason)
        channel.close(promise: nil)
    }

    private func count(_ reason: ConnectionEnd) {
        ended.add(for: reason)
        state.withLock { $0.log.ended(reason) }
    }

    /// Notes what a connection did.
    func note(_ change: (inout Book, MonotonicInstant) -> Void) {
        let now = time.now()
        state.withLock { change(&$0.book, now) }
    }

    func sweep() {
        let now = time.now()
        let (ends, owing, listener, lines) = state.withLock { state in
            let ends = state.book.overdue(now: now, stopping: state.stopping).compactMap { id, reason in
                state.channels.removeValue(forKey: id).map { ($0, reason) }
            }
            state.lastSweep = now
            let lines = [state.log.counted(state.book.count, of: state.book.maximum), state.log.acceptedAgain(now: now)]
            return (ends, state.book.owing.compactMap { state.channels[$0] }, state.listener, lines)
        }
        for (channel, reason) in ends { end(channel, reason) }
        lines.forEach(tell)
        for channel in owing {
            let id = ObjectIdentifier(channel)
            TCPProgress.look(at: channel) { [self] progress in
                note { book, now in book.looked(id, taken: progress.taken, more: progress.more, now: now) }
            }
        }
        if let listener { TCPProgress.look(at: listener) { [self] in waits($0.waiting) } }
    }

    // MARK: Too many

    private func waits(_ count: Int) {
        let now = time.now()
        let line = state.withLock { state in
            state.waiting = count
            return state.log.looked(waiting: count, canLetIn: state.book.mayAdmit(now: now), now: now)
        }
        tell(line)
    }

    /// The kernel had none for us. One of ours makes room, which helps if it is we who have too many.
    func couldNotAccept(_ failure: AcceptFailure) {
        acceptFailures.add(for: failure)
        let now = time.now()
        let (line, victim) = state.withLock { state in
            (
                state.log.failed(failure, now: now),
                state.book.makeRoom(now: now).flatMap { state.channels.removeValue(forKey: $0) }
            )
        }
        if let victim { end(victim, .madeRoom) }
        tell(line)
    }

    private func tell(_ line: CrowdLog.Line?) {
        guard let line else { return }
        let count = state.withLock { $0.book.count }
        var figures: Logger.Metadata = ["connections": "\(count)", "maximum": "\(budget.connections)"]
        if budget.isShort { figures["limit"] = "\(budget.limit)" }
        switch line {
        case .full where budget.isShort:
            logger.warning(
                "too many open connections for the file descriptors this process may have; those that ask nothing make room", metadata: figures)
        case .full: logger.warning("too many open connections; those that ask nothing make room", metadata: figures)
        case .roomAgain(let closed, let refused):
            (figures["closed"], figures["refused"]) = ("\(closed)", "\(refused)")
            logger.info("there is room for connections again", metadata: figures)
        case .newcomersWait(let waiting):
            figures["waiting"] = "\(waiting)"
            logger.warning("new clients are left waiting: as many as may connect are being answered", metadata: figures)
        case .newcomersComeIn(let duration):
            figures["waited"] = "\(duration.text)"
            logger.info("new clients are let in again", metadata: figures)
        case .notAccepted(let failure):
            figures["limit"] = "\(budget.limit)"
            logger.warning("\(failure.sentence); accepting pauses again and again", metadata: figures)
        case .acceptedAgain(let failures):
            figures["failures"] = "\(failures)"
            logger.info("connections are accepted again", metadata: figures)
        }
    }
}

extension AcceptFailure {
    fileprivate var sentence: String {
        switch self {
        case .processLimit: "no file descriptor for a new connection: too many open files"
        case .systemLimit: "no file descriptor for a new connection: too many open files in the whole system"
        case .memory: "no memory for a new connection"
        }
    }
}
