import Vitals

/// Notices to the service manager that are still to be sent, in the order in which they were given.
///
/// Of each kind only the latest is worth sending, so the queue is never longer than there are kinds: after READY, RELOADING, READY with
/// nobody reading, RELOADING and READY are left, which lead to the same state.
struct NoticeQueue: OutletQueue {
    enum Kind: Sendable, Hashable, CaseIterable {
        case ready
        case reloading
        case stopping
        case trigger
        case status
        /// Says that we are well now: worth nothing later.
        case ping
    }

    struct Notice: Sendable, Hashable {
        var kind: Kind
        var text: String
        var at: MonotonicInstant
    }

    /// How old a ping may be when its turn comes.
    private let pingLifetime: Duration
    private var notices: [Notice] = []

    init(pingLifetime: Duration) {
        self.pingLifetime = pingLifetime
    }

    var isEmpty: Bool { notices.isEmpty }

    /// In the place of one of its kind that has not been sent.
    mutating func add(_ kind: Kind, _ text: String, now: MonotonicInstant) {
        withdraw(kind)
        notices.append(Notice(kind: kind, text: text, at: now))
    }

    mutating func withdraw(_ kind: Kind) { notices.removeAll { $0.kind == kind } }

    mutating func next(now: MonotonicInstant) -> Notice? {
        notices.removeAll { $0.kind == .ping && now - $0.at > pingLifetime }
        return notices.isEmpty ? nil : notices.removeFirst()
    }
}
