import Vitals

#if canImport(Glibc)
    import Glibc
#endif

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

/// What there is to tell of too many clients: each crowd once when it begins and once when it ends, with its own figures.
struct CrowdLog: Sendable {
    enum Line: Sendable, Hashable {
        /// As many connections as there may be.
        case full
        case roomAgain(closed: Int, refused: Int)
        /// Nobody can make room: clients have been in the kernel's queue for a second.
        case newcomersWait(Int)
        case newcomersComeIn(after: Duration)
        case notAccepted(AcceptFailure)
        case acceptedAgain(failures: Int)
    }

    /// So long without a failed accept() is over: while each newcomer finds one descriptor, every other one fails.
    private static let quietAfterFailure = Duration.seconds(10)
    /// So long nobody has to have waited.
    private static let quietAfterWaiting = Duration.seconds(5)

    private var crowd: (closed: Int, refused: Int)?
    private var shortage: (kind: AcceptFailure, last: MonotonicInstant, failures: Int, isLetIn: Bool)?
    private var queue: (since: MonotonicInstant, last: MonotonicInstant, isTold: Bool)?
    /// For how long in all newcomers waited and nobody could make room.
    private(set) var waited = Duration.zero

    /// A fifth must be free again before the crowd counts as gone.
    mutating func counted(_ count: Int, of maximum: Int) -> Line? {
        if let crowd {
            guard count * 5 <= maximum * 4 else { return nil }
            self.crowd = nil
            return .roomAgain(closed: crowd.closed, refused: crowd.refused)
        }
        guard count >= maximum else { return nil }
        crowd = (0, 0)
        return .full
    }

    mutating func ended(_ reason: ConnectionEnd) {
        crowd?.closed += reason == .madeRoom ? 1 : 0
        crowd?.refused += reason == .refused ? 1 : 0
    }

    mutating func failed(_ kind: AcceptFailure, now: MonotonicInstant) -> Line? {
        let isNew = shortage?.kind != kind
        shortage = (kind, now, (shortage?.failures ?? 0) + 1, false)
        return isNew ? .notAccepted(kind) : nil
    }

    mutating func letIn() { shortage?.isLetIn = true }

    /// Quiet alone does not end a shortage, since perhaps nobody came: somebody must have been let in.
    mutating func acceptedAgain(now: MonotonicInstant) -> Line? {
        guard let shortage, shortage.isLetIn, now - shortage.last >= Self.quietAfterFailure else { return nil }
        self.shortage = nil
        return .acceptedAgain(failures: shortage.failures)
    }

    /// - Parameters:
    ///   - waiting: clients in the kernel's queue.
    ///   - canLetIn: whether there is room, or somebody who makes it.
    mutating func looked(waiting: Int, canLetIn: Bool, now: MonotonicInstant) -> Line? {
        guard waiting > 0, !canLetIn else {
            guard let queue, now - queue.last >= Self.quietAfterWaiting else { return nil }
            self.queue = nil
            return queue.isTold ? .newcomersComeIn(after: queue.last - queue.since) : nil
        }
        guard let last = queue else {
            queue = (now, now, false)
            return nil
        }
        if now - last.last < Self.quietAfterWaiting { waited += now - last.last }
        let isLong = now - last.since >= .seconds(1)
        queue = (last.since, now, last.isTold || isLong)
        return isLong && !last.isTold ? .newcomersWait(waiting) : nil
    }
}
