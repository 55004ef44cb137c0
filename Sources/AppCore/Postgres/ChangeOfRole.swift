/// Whether a standing connection still leads to the server it was opened to. Costs no round trip: the server reports these parameters
/// by itself, before it is ready for the next statement.
///
/// Source: PostgreSQL 15, PQparameterStatus; `in_hot_standby` and `default_transaction_read_only` are reported since version 14.
extension LibpqConnection {
    /// Why the server is another one for us than it was; nil when it is not, or does not tell.
    func changeOfRole(since facts: ServerFacts) -> String? {
        guard !facts.isBehindPooler, let standby = isOn("in_hot_standby"), standby != facts.isInRecovery else { return nil }
        return standby ? "the server has become a standby" : "the server is a standby no more"
    }

    /// 25006 because the server as a whole takes no writes, not because this caller asked for a transaction that only reads.
    ///
    /// - Parameter ownDoing: the lease has changed its session, so the default may be its own.
    func isDemoted(by error: ServerError, _ facts: ServerFacts, ownDoing: Bool) -> Bool {
        guard error.sqlState == "25006" else { return false }
        // Behind a pooler the parameters are those of another moment; an older server reports none.
        guard !facts.isBehindPooler, let standby = isOn("in_hot_standby"), let readsOnly = isOn("default_transaction_read_only")
        else { return true }
        return standby || (readsOnly && !ownDoing)
    }
}
