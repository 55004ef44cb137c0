import Synchronization
import Vitals

/// What all connections to one database learn when a change of a table has made the plan of a prepared statement useless (0A000).
///
/// Inside a transaction such a statement takes the transaction with it, and it shows one text on one connection, where every plan of every
/// connection is as old. So whoever meets it tells here, and each connection then forgets all its names before its next statement.
/// A text that has broken two transactions gets no name any more: whatever is wrong with it, it breaks no third.
/// Outside a transaction nobody is told before the statement, parsed anew, went well.
final class StalePlans: Sendable {
    private struct State {
        var toldAt: MonotonicInstant?
        /// How many transactions a text has broken.
        var broken: [String: Int] = [:]
    }

    private let changes = Atomic(0)
    private let state = Mutex(State())

    /// Outside a transaction the statement is only parsed anew. A program that keeps changing its tables must not have everybody do so all the time.
    static let pause = Duration.seconds(10)
    /// Texts that are counted.
    private static let limit = 256

    /// Another number than before: all names are to be forgotten.
    var number: Int { changes.load(ordering: .acquiring) }

    /// A statement found its plan stale and was parsed anew.
    func healed(now: MonotonicInstant) {
        let isNews = state.withLock { state in
            if let before = state.toldAt, now - before < Self.pause { return false }
            state.toldAt = now
            return true
        }
        if isNews { changes.add(1, ordering: .releasing) }
    }

    /// A statement found its plan stale inside a transaction.
    func brokeTransaction(_ text: String, now: MonotonicInstant) {
        state.withLock { state in
            state.toldAt = now
            if state.broken[text] == nil, state.broken.count >= Self.limit { state.broken = state.broken.filter { $0.value > 1 } }
            if state.broken[text] != nil || state.broken.count < Self.limit { state.broken[text, default: 0] += 1 }
        }
        changes.add(1, ordering: .releasing)
    }

    func mayBeNamed(_ text: String) -> Bool {
        state.withLock { $0.broken[text, default: 0] < 2 }
    }
}
