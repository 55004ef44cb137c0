import DequeModule

/// Which statements this connection has prepared. A text seen for the second time is worth a name.
///
/// Bounded on both sides: the server never holds more than `limit` names of ours. When they are all given away, a newcomer takes
/// the place of the statement unused for longest, which is DEALLOCATEd first (one more round trip, once); but only if that one
/// has been idle for four times `limit` statements. A program with more hot statements than names must not prepare for ever:
/// those beyond the limit are then sent unprepared.
struct StatementCache {
    enum Plan: Equatable {
        case once
        case prepare(name: String)
        case execute(name: String)
        /// First the server must forget this name; then ask again.
        case makeRoom(name: String)
    }

    private struct Prepared {
        var name: String
        var lastUse: Int
    }

    /// False behind a pooler in transaction mode: nothing is named then.
    let namesStatements: Bool
    let limit: Int
    private var prepared: [String: Prepared] = [:]
    /// Texts seen once, oldest first. A generator of texts drives only these out, never a prepared one.
    private var seen: Set<String> = []
    private var seenInOrder = Deque<String>()
    private var uses = 0
    /// Until so many uses no name will have been idle long enough; a use only makes it later.
    private var noRoomBefore = 0
    private var nextName = 0

    init(namesStatements: Bool = true, limit: Int = 256) {
        self.namesStatements = namesStatements
        self.limit = limit
    }

    /// - Parameter pending: names given away already whose statements the server has not confirmed yet.
    mutating func plan(for text: String, pending: Int = 0) -> Plan {
        guard namesStatements else { return .once }
        if let name = name(of: text) { return .execute(name: name) }
        guard seen.contains(text) else {
            remember(text)
            return .once
        }
        guard prepared.count + pending >= limit else {
            nextName += 1
            return .prepare(name: "s\(nextName)")
        }
        guard uses > noRoomBefore, let oldest = prepared.values.min(by: { $0.lastUse < $1.lastUse }) else { return .once }
        noRoomBefore = oldest.lastUse + 4 * limit
        return uses > noRoomBefore ? .makeRoom(name: oldest.name) : .once
    }

    /// The name of a statement that is prepared already. Counts as a use.
    mutating func name(of text: String) -> String? {
        uses += 1
        guard let index = prepared.index(forKey: text) else { return nil }
        prepared.values[index].lastUse = uses
        return prepared.values[index].name
    }

    mutating func prepared(_ text: String, as name: String) {
        seen.remove(text)
        prepared[text] = Prepared(name: name, lastUse: uses)
    }

    /// The server has forgotten the name.
    mutating func madeRoom(_ name: String) {
        guard let text = prepared.first(where: { $0.value.name == name })?.key else { return }
        prepared[text] = nil
        noRoomBefore = 0
    }

    /// The text is to be parsed anew: its plan is stale, or the server does not know the name. Happens after a migration; the
    /// name that may be left on the server is not counted.
    mutating func forget(_ text: String) {
        prepared[text] = nil
        noRoomBefore = 0
    }

    private mutating func remember(_ text: String) {
        if seenInOrder.count >= limit, let oldest = seenInOrder.popFirst() { seen.remove(oldest) }
        seen.insert(text)
        seenInOrder.append(text)
    }
}
