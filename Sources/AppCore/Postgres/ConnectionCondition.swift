extension PostgresConnection {
    /// What the pool may do with the connection when its lease ends.
    enum Condition: Sendable, Equatable {
        /// Idle, outside a transaction: the next caller may have it at once.
        case reusable
        /// A transaction is open or an abandoned statement still runs: `recover` first.
        case needsRecovery
        /// Idle, but the session is not as it began: `recover` first.
        case sessionChanged
        /// Of no further use.
        case lost(reason: String)
        /// Of no further use, and neither are the others opened with it: the server has another role now, or takes no writes.
        case demoted(reason: String)
    }
}
