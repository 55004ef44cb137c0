import DequeModule
import Vitals

/// Which statements this connection has prepared. A text seen for the second time is worth a name.
///
/// Bounded on both sides: the server never holds more than `limit` names of ours. When they are all given away, a newcomer takes
/// the place of the statement unused for longest, which is DEALLOCATEd first (one more round trip, once); but only if that one
/// has been idle for four times `limit` statements. A program with more hot statements than names must not prepare for ever:
/// those beyond the limit are then sent unprepared.
struct StatementCache {
    enum Plan: Equatable {
        case once
        /// The same; the session is not as it was afterwards. It gets no name, since all names go when the session is restored.
        case changing(SessionChange)
        case prepare(name: String)
        case execute(name: String)
        /// First the server must forget these names; then ask again.
        case makeRoom(names: [String])
    }

    private struct Prepared {
        var name: String
        var lastUse: Int
    }

    /// False behind a pooler in transaction mode: nothing is named then.
    let namesStatements: Bool
    let limit: Int
    private let stale: StalePlans
    /// What of `stale` this connection has heeded.
    private var heeded: Int
    private var prepared: [String: Prepared] = [:]
    /// Names that the server still holds and nobody uses any more.
    private var leftovers: [String] = []
    /// Texts without a name that were seen, oldest first. A generator of texts drives only these out, never a prepared one.
    private var seen: [String: SessionChange] = [:]
    private var seenInOrder = Deque<String>()
    private var uses = 0
    /// Until so many uses no name will have been idle long enough; a use only makes it later.
    private var noRoomBefore = 0
    private var nextName = 0

    init(namesStatements: Bool = true, limit: Int = 256, stale: StalePlans = StalePlans()) {
        self.namesStatements = namesStatements
        self.limit = limit
        self.stale = stale
        heeded = stale.number
    }

    /// - Parameter pending: names given away already whose statements the server has not confirmed yet.
    mutating func plan(for text: String, pending: Int = 0) -> Plan {
        if namesStatements {
            if stale.number != heeded { forgetAll() }
            if let name = name(of: text) { return .execute(name: name) }
        }
        guard let change = seen[text] else {
            let change = SessionChange.named(in: text)
            remember(text, change)
            return change == .none ? .once : .changing(change)
        }
        guard change == .none else { return .changing(change) }
        guard namesStatements else { return .once }
        guard stale.mayBeNamed(text) else { return .once }
        guard prepared.count + leftovers.count + pending >= limit else {
            nextName += 1
            return .prepare(name: "s\(nextName)")
        }
        guard leftovers.isEmpty else { return .makeRoom(names: leftovers) }
        guard uses > noRoomBefore, let oldest = prepared.values.min(by: { $0.lastUse < $1.lastUse }) else { return .once }
        noRoomBefore = oldest.lastUse + 4 * limit
        return uses > noRoomBefore ? .makeRoom(names: [oldest.name]) : .once
    }

    /// The name of a statement that is prepared already. Counts as a use.
    mutating func name(of text: String) -> String? {
        uses += 1
        guard let index = prepared.index(forKey: text) else { return nil }
        prepared.values[index].lastUse = uses
        return prepared.values[index].name
    }

    mutating func prepared(_ text: String, as name: String) {
        seen[text] = nil
        prepared[text] = Prepared(name: name, lastUse: uses)
    }

    /// The server has forgotten the names.
    mutating func madeRoom(_ names: [String]) {
        leftovers.removeAll { names.contains($0) }
        for name in names {
            guard let text = prepared.first(where: { $0.value.name == name })?.key else { continue }
            prepared[text] = nil
        }
        noRoomBefore = 0
    }

    // MARK: Plans that are of no use any more

    /// The plan of one of these texts is stale, as after a migration: they are to be parsed anew.
    ///
    /// - Parameter breaking: the one that took its transaction with it; nil when it is sent once more.
    mutating func areStale(_ texts: [String], breaking: String?) {
        for text in texts {
            if let name = prepared.removeValue(forKey: text)?.name { leftovers.append(name) }
        }
        noRoomBefore = 0
        if let breaking { stale.brokeTransaction(breaking, now: .now()) }
    }

    /// What was parsed anew after that went well: so the plan was at fault, and those of the other connections are as old.
    func planWasStale() { stale.healed(now: .now()) }

    /// The server has dropped the names of this session, as after DISCARD ALL.
    mutating func areGone() {
        prepared = [:]
        leftovers = []
        noRoomBefore = 0
    }

    /// The same for a session that begins anew.
    func renewed() -> StatementCache {
        StatementCache(namesStatements: namesStatements, limit: limit, stale: stale)
    }

    private mutating func forgetAll() {
        heeded = stale.number
        leftovers += prepared.values.map(\.name)
        prepared = [:]
        noRoomBefore = 0
    }

    private mutating func remember(_ text: String, _ change: SessionChange) {
        if seenInOrder.count >= limit, let oldest = seenInOrder.popFirst() { seen[oldest] = nil }
        seen[text] = change
        seenInOrder.append(text)
    }
}
