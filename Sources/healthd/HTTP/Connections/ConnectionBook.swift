import Vitals

/// How long a client may leave its connection as it is.
struct ConnectionPatience: Sendable, Hashable {
    /// For a whole header, from the connection or from the header's first byte; curl and Prometheus take milliseconds.
    var header = Duration.seconds(10)
    /// Without a byte of a body that was announced.
    var body = Duration.seconds(30)
    /// Between requests: longer than the usual scrape interval of a minute.
    var idle = Duration.seconds(75)
    /// While it takes nothing of what lies ready for it.
    var stuck = Duration.seconds(60)
    /// The same, when somebody else could use its place.
    var stuckWhenFull = Duration.seconds(5)
    /// While we stop, for a client whose turn it is.
    var stopping = Duration.milliseconds(500)
    /// The longest that a stop waits for clients; the rest of the grace is for what stops after the server.
    var stop = Duration.seconds(8)
}

/// Who is connected, since when, and at what: decides who may come, and whose time is over.
///
/// One that waits for us is never closed: a request being answered, a stream, an answer on its way, however slowly. All others have a time
/// limit, and when there is no room one of them makes room for the next: one that takes nothing of its answer is among them.
struct ConnectionBook<ID: Hashable & Sendable>: Sendable {
    enum Admission: Sendable, Hashable {
        case welcome
        /// In place of this one, which is to be closed.
        case insteadOf(ID)
        /// All others are being answered.
        case refused
        /// It is in the book already.
        case known
    }

    /// What a connection is at.
    enum Phase: Sendable, Hashable {
        /// Nothing has been asked yet, or a header is incomplete.
        case header
        /// A body was announced and is incomplete.
        case body
        /// It is our turn, to answer or to make the connection ready; or the answer is still on its way.
        case answering
        /// Answered, and nothing asked since.
        case idle
    }

    private struct Connection: Sendable {
        /// When it last got on; a header gets on only by becoming complete.
        var since: MonotonicInstant
        /// While something lies ready for it: since when it has taken nothing of that.
        var stuckSince: MonotonicInstant?
        /// Bytes it has taken, as last seen.
        var taken: UInt64?
        /// Whether something may lie ready for it.
        var mayOwe = false
        var isOpen = false
        var wasAnswered = false
        var hasBegunHeader = false
        var isReceivingBody = false
        var answersOwed = 0

        var phase: Phase {
            if !isOpen { return .answering }
            if isReceivingBody { return .body }
            if answersOwed > 0 || stuckSince != nil { return .answering }
            return wasAnswered && !hasBegunHeader ? .idle : .header
        }
    }

    /// Connections at once.
    let maximum: Int
    let patience: ConnectionPatience
    private var connections: [ID: Connection] = [:]

    init(maximum: Int, patience: ConnectionPatience = ConnectionPatience()) {
        precondition(maximum > 0, "without a connection nothing is served")
        self.maximum = maximum
        self.patience = patience
    }

    var count: Int { connections.count }
    var isFull: Bool { count >= maximum }

    func mayAdmit(now: MonotonicInstant) -> Bool { !isFull || victim(now: now) != nil }

    /// Those whose answers may be on their way.
    var owing: [ID] { connections.compactMap { $1.mayOwe ? $0 : nil } }

    var phases: [Phase: Int] {
        connections.values.reduce(into: [.header: 0, .body: 0, .answering: 0, .idle: 0]) { $0[$1.phase, default: 0] += 1 }
    }

    // MARK: What happens to a connection

    mutating func admit(_ id: ID, now: MonotonicInstant) -> Admission {
        guard connections[id] == nil else { return .known }
        var admission = Admission.welcome
        if isFull {
            guard let victim = victim(now: now) else { return .refused }
            connections[victim] = nil
            admission = .insteadOf(victim)
        }
        connections[id] = Connection(since: now)
        return admission
    }

    /// It can be read from, and closed: before that, its end would be the listener's.
    mutating func opened(_ id: ID, now: MonotonicInstant) {
        change(id) { ($0.isOpen, $0.since) = (true, now) }
    }

    /// Bytes, of whatever they are.
    mutating func received(_ id: ID, now: MonotonicInstant) {
        change(id) { if $0.phase == .body { $0.since = now } }
    }

    /// Whether the bytes that came end inside a header.
    mutating func isInHeader(_ id: ID, _ isInHeader: Bool, now: MonotonicInstant) {
        change(id) { connection in
            // One that has not asked yet has been on the clock since it came. While it is our turn the clock stands, until the answer is out.
            if isInHeader, !connection.hasBegunHeader, connection.phase == .idle { connection.since = now }
            connection.hasBegunHeader = isInHeader
        }
    }

    mutating func receivedHeader(_ id: ID, now: MonotonicInstant) {
        change(id) { connection in
            connection.answersOwed += 1
            (connection.isReceivingBody, connection.hasBegunHeader, connection.since) = (true, false, now)
            connection.mayOwe = true
        }
    }

    /// The request is complete, with its body if it has one.
    mutating func receivedAll(_ id: ID, now: MonotonicInstant) {
        change(id) { ($0.isReceivingBody, $0.since) = (false, now) }
    }

    /// The kernel has the whole answer.
    mutating func answered(_ id: ID, now: MonotonicInstant) {
        change(id) { connection in
            connection.answersOwed = max(0, connection.answersOwed - 1)
            (connection.wasAnswered, connection.since) = (true, now)
        }
    }

    /// What was seen of an answer on its way.
    ///
    /// - Parameters:
    ///   - taken: bytes that the client has taken since it came.
    ///   - more: whether more lies ready for it.
    mutating func looked(_ id: ID, taken: UInt64, more: Bool, now: MonotonicInstant) {
        change(id) { connection in
            if more {
                if connection.stuckSince == nil || connection.taken != taken { connection.stuckSince = now }
            } else {
                if connection.stuckSince != nil { (connection.stuckSince, connection.since) = (nil, now) }
                // A moment later nothing can be between us and the kernel any more.
                if connection.answersOwed == 0, now - connection.since >= .seconds(1) { connection.mayOwe = false }
            }
            connection.taken = taken
        }
    }

    mutating func closed(_ id: ID) { connections[id] = nil }

    /// Whose time is over, and why; they are not in the book any more.
    ///
    /// - Parameter stopping: since when the server has been stopping. Then whoever keeps us waiting has next to no time left.
    mutating func overdue(now: MonotonicInstant, stopping: MonotonicInstant? = nil) -> [(ID, ConnectionEnd)] {
        let ends = connections.compactMap { id, connection in
            (end(of: connection, now: now) ?? stopping.flatMap { end(of: connection, stopping: $0, now: now) }).map { (id, $0) }
        }
        for (id, _) in ends { connections[id] = nil }
        return ends
    }

    /// Takes the one out that makes room, if there is one: when the kernel had no descriptor for a connection.
    mutating func makeRoom(now: MonotonicInstant) -> ID? {
        let victim = victim(now: now)
        if let victim { connections[victim] = nil }
        return victim
    }

    // MARK: Decisions

    private mutating func change(_ id: ID, _ body: (inout Connection) -> Void) {
        // In place: this happens five times in each request.
        guard let index = connections.index(forKey: id) else { return }
        body(&connections.values[index])
    }

    private func end(of connection: Connection, now: MonotonicInstant) -> ConnectionEnd? {
        if let stuck = connection.stuckSince, now - stuck >= patience.stuck { return .notReading }
        let silent = now - connection.since
        return switch connection.phase {
        case .header: silent >= patience.header ? .headerTimeout : nil
        case .body: silent >= patience.body ? .bodyTimeout : nil
        case .idle: silent >= patience.idle ? .idleTimeout : nil
        case .answering: nil
        }
    }

    private func end(of connection: Connection, stopping: MonotonicInstant, now: MonotonicInstant) -> ConnectionEnd? {
        guard connection.isOpen, now - stopping >= patience.stopping else { return nil }
        if now - stopping >= patience.stop { return .stopping }
        switch connection.phase {
        case .header, .idle: return .stopping
        case .body: return now - connection.since >= patience.stopping ? .stopping : nil
        case .answering: return connection.stuckSince.map { now - $0 >= patience.stopping } == true ? .stopping : nil
        }
    }

    /// Who makes room: of those that have not come to a request, the one that has been at it for longest.
    ///
    /// While these are few they are left alone, since each may be a moment from its request, and the one goes that has been idle for longest:
    /// otherwise clients that asked once and stay would let no newcomer speak. One that takes nothing of its answer goes last, or, when
    /// these are many, before anybody is who is idle.
    private func victim(now: MonotonicInstant) -> ID? {
        var newcomers = 0
        var stuckCount = 0
        var stuck: (id: ID, since: MonotonicInstant)?
        var unfinished: (id: ID, since: MonotonicInstant)?
        var idle: (id: ID, since: MonotonicInstant)?
        for (id, connection) in connections {
            switch connection.phase {
            // One that is not ready yet cannot go, but counts: many of them come in a moment.
            case .answering where !connection.isOpen: newcomers += 1
            case .answering:
                guard let since = connection.stuckSince, now - since >= patience.stuckWhenFull else { break }
                stuckCount += 1
                if let found = stuck, found.since <= since { break }
                stuck = (id, since)
            case .header, .body:
                newcomers += 1
                if let found = unfinished, found.since <= connection.since { break }
                unfinished = (id, connection.since)
            case .idle:
                if let found = idle, found.since <= connection.since { break }
                idle = (id, connection.since)
            }
        }
        if newcomers > count / 4 { return unfinished?.id }
        if stuckCount > count / 4 { return stuck?.id }
        return idle?.id ?? unfinished?.id ?? stuck?.id
    }
}

/// Why we ended a connection; a label of a metric.
enum ConnectionEnd: String, Sendable, Hashable, CaseIterable {
    case headerTimeout = "header_timeout"
    case bodyTimeout = "body_timeout"
    case idleTimeout = "idle_timeout"
    case notReading = "not_reading"
    /// For the next one, when there were as many as there may be.
    case madeRoom = "made_room"
    /// It came when all others were being answered.
    case refused
    /// We stop, and it kept us waiting.
    case stopping
}
