import Logging
import NIOCore
import Synchronization
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// The HTTP connections there are: lets them in, ends those whose time is over, and tells when there are too many.
final class Connections: Sendable {
    typealias Book = ConnectionBook<ObjectIdentifier>

    /// Why the kernel had no connection for us; a label of a metric.
    enum AcceptFailure: String, Sendable, Hashable, CaseIterable {
        case processLimit = "process_limit"
        case systemLimit = "system_limit"
        case memory

        /// Nil for what is no shortage.
        init?(errno code: CInt) {
            switch code {
            case EMFILE: self = .processLimit
            case ENFILE: self = .systemLimit
            case ENOBUFS, ENOMEM: self = .memory
            default: return nil
            }
        }
    }

    struct Snapshot: Sendable {
        var maximum = 0
        /// Whether descriptors are what bounds them.
        var isShortOfDescriptors = false
        var phases: [Book.Phase: Int] = [:]
        var ended: [ConnectionEnd: Int] = [:]
        var acceptFailures: [AcceptFailure: Int] = [:]

        var count: Int { phases.values.reduce(0, +) }
    }

    /// A change between room enough and too many.
    private struct Crowding {
        var isCrowded: Bool
        var count: Int
    }

    private struct State {
        var book: Book
        var channels: [ObjectIdentifier: any Channel] = [:]
        var isCrowded = false
        /// The last one, and when, until none has come for a while.
        var failure: (kind: AcceptFailure, at: MonotonicInstant)?

        /// What is new, if anything; a fifth must be free again before it counts as over.
        mutating func crowding() -> Crowding? {
            let (count, maximum) = (book.count, book.maximum)
            let isNow = isCrowded ? count * 5 > maximum * 4 : count >= maximum
            guard isNow != isCrowded else { return nil }
            isCrowded = isNow
            return Crowding(isCrowded: isNow, count: count)
        }
    }

    /// So long without a failed accept() is over: while each newcomer finds one descriptor, every other one fails.
    private static let quietAfterFailure = Duration.seconds(10)

    private let budget: DescriptorBudget
    private let state: Mutex<State>
    private let ended = LabelledCounter(known: ConnectionEnd.allCases)
    private let acceptFailures = LabelledCounter(known: AcceptFailure.allCases)
    private let time: any TimeSource
    private let logger: Logger

    init(_ budget: DescriptorBudget, patience: ConnectionPatience = ConnectionPatience(), time: any TimeSource, logger: Logger) {
        self.budget = budget
        state = Mutex(State(book: Book(maximum: budget.connections, patience: patience)))
        self.time = time
        self.logger = logger
    }

    /// Ends connections whose time is over, until cancelled.
    func run() async {
        while (try? await time.sleep(for: .seconds(1))) != nil { sweep() }
    }

    func snapshot() -> Snapshot {
        let (maximum, phases) = state.withLock { ($0.book.maximum, $0.book.phases) }
        return Snapshot(
            maximum: maximum, isShortOfDescriptors: budget.isShort, phases: phases, ended: ended.values, acceptFailures: acceptFailures.values)
    }

    // MARK: Coming and going

    /// Whether there is room for one more, or somebody who would make it.
    var mayAdmit: Bool { state.withLock { $0.book.mayAdmit } }

    /// - Returns: false when it is to be closed at once.
    func admit(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let now = time.now()
        let (admission, victim, change) = state.withLock { state -> (Book.Admission, (any Channel)?, Crowding?) in
            let admission = state.book.admit(id, now: now)
            if admission != .refused { state.channels[id] = channel }
            var victim: (any Channel)?
            if case .insteadOf(let other) = admission { victim = state.channels.removeValue(forKey: other) }
            return (admission, victim, state.crowding())
        }
        if let change { tell(change) }
        if let victim { end(victim, .madeRoom) }
        switch admission {
        case .known: return true
        case .refused:
            ended.add(for: .refused)
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
        ended.add(for: reason)
        channel.close(promise: nil)
    }

    /// Notes what a connection did.
    func note(_ change: (inout Book, MonotonicInstant) -> Void) {
        let now = time.now()
        state.withLock { change(&$0.book, now) }
    }

    func sweep() {
        let now = time.now()
        let (ends, change) = state.withLock { state -> ([((any Channel), ConnectionEnd)], Crowding?) in
            let ends = state.book.overdue(now: now).compactMap { id, reason in
                state.channels.removeValue(forKey: id).map { ($0, reason) }
            }
            return (ends, state.crowding())
        }
        let isAcceptingAgain = state.withLock { state in
            guard let failure = state.failure, now - failure.at >= Self.quietAfterFailure else { return false }
            state.failure = nil
            return true
        }
        for (channel, reason) in ends { end(channel, reason) }
        if isAcceptingAgain {
            logger.info("connections are accepted again", metadata: ["failures": "\(acceptFailures.values.values.reduce(0, +))"])
        }
        if let change { tell(change) }
    }

    // MARK: Too many

    private func tell(_ change: Crowding) {
        var figures: Logger.Metadata = ["connections": "\(change.count)", "maximum": "\(budget.connections)"]
        switch (change.isCrowded, budget.isShort) {
        case (true, true):
            figures["limit"] = "\(budget.limit)"
            logger.warning(
                "too many open connections for the file descriptors this process may have; those idle for longest make room", metadata: figures)
        case (true, false): logger.warning("too many open connections; those idle for longest make room", metadata: figures)
        case (false, _):
            figures["closed"] = "\(ended.values[.madeRoom, default: 0])"
            figures["refused"] = "\(ended.values[.refused, default: 0])"
            logger.info("there is room for connections again", metadata: figures)
        }
    }

    /// The kernel had none for us. One of ours makes room, which helps if it is we who have too many.
    func couldNotAccept(_ failure: AcceptFailure) {
        acceptFailures.add(for: failure)
        let now = time.now()
        let (isNew, victim, count) = state.withLock { state -> (Bool, (any Channel)?, Int) in
            defer { state.failure = (failure, now) }
            let victim = state.book.makeRoom().flatMap { state.channels.removeValue(forKey: $0) }
            return (state.failure?.kind != failure, victim, state.book.count)
        }
        if let victim { end(victim, .madeRoom) }
        guard isNew else { return }
        let what =
            switch failure {
            case .processLimit: "no file descriptor for a new connection: too many open files; accepting pauses again and again"
            case .systemLimit: "no file descriptor for a new connection: too many open files in the whole system; accepting pauses again and again"
            case .memory: "no memory for a new connection; accepting pauses again and again"
            }
        logger.warning("\(what)", metadata: ["connections": "\(count)", "limit": "\(budget.limit)"])
    }
}
