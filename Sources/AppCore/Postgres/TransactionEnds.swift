/// How often transactions have ended on a connection, as far as its texts and the server's answers show it.
///
/// The server says whether a transaction is open, not whether it is still the same: COMMIT AND CHAIN begins the next one at once. Who remembers
/// these numbers knows.
struct TransactionEnds: Equatable {
    /// Ends of every kind, and statements that were a transaction of their own.
    var all = 0
    /// Those of them after which something may be committed.
    var lasting = 0

    static func + (one: Self, other: Self) -> Self { Self(all: one.all + other.all, lasting: one.lasting + other.lasting) }

    /// - Parameter lasts: something may be committed.
    mutating func note(lasts: Bool) {
        all += 1
        if lasts { lasting += 1 }
    }

    /// Whether a statement of the text begins as those do that commit: for one that was given up before its answer came.
    static func mayCommit(_ text: String) -> Bool {
        var first: String?
        for token in SQLTokens(text) {
            if token == .symbol(UInt8(ascii: ";")) { first = nil }
            guard let name = token.name else { continue }
            switch (first, name) {
            case (nil, "commit"), (nil, "end"), ("prepare", "transaction"): return true
            default: first = first ?? name
            }
        }
        return false
    }

    /// Whether a text whose answer was ROLLBACK has ended its transaction: as all have but those that say ROLLBACK TO alone. A COMMIT is
    /// answered so, too, after a statement has failed.
    static func isRollback(_ text: String) -> Bool {
        let names = SQLTokens(text).compactMap(\.name).filter { $0 != "work" && $0 != "transaction" }
        let rollbacks = names.indices.filter { names[$0] == "rollback" || names[$0] == "abort" }
        return rollbacks.isEmpty || rollbacks.contains { !names[$0...].dropFirst().starts(with: ["to"]) }
    }
}
