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

    /// 25006 because the server took writes when the connection was opened, and takes none now.
    ///
    /// One that took none from the beginning refuses a write, and nothing has changed by it: its connections are as good as any other.
    ///
    /// - Parameter ownDoing: the lease has changed its session, so the default may be its own.
    func isDemoted(by error: ServerError, _ facts: ServerFacts, ownDoing: Bool) -> Bool {
        // Behind a pooler the parameters are those of another moment; a server before version 14 reports none.
        guard error.meaning == .readOnly, !facts.isBehindPooler, let standby = isOn("in_hot_standby"),
            let readsOnly = isOn("default_transaction_read_only")
        else { return false }
        return (standby && !facts.isInRecovery) || (readsOnly && !facts.readsOnly && !ownDoing)
    }
}
