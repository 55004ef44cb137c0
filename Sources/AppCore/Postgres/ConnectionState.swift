import Vitals

extension PostgresConnection {
    enum Phase {
        /// `operation` runs. Leads to idle, abandoned or lost.
        case busy
        /// Nothing runs; the socket is watched, so a server that goes away is noticed.
        case idle
        /// The caller gave up and has its answer; the server has not finished. Leads to idle or lost.
        case abandoned
        /// Gone, for `lossReason`.
        case lost
    }

    struct State {
        var libpq: LibpqConnection?
        var phase = Phase.idle
        /// While busy. Apart from the phase, so that each answer changes it where it stands.
        var operation: Operation?
        /// While abandoned: who waits for the server to finish.
        var drained: CheckedContinuation<Void, Never>?
        var lossReason = ""
        var statements = StatementCache()
        var facts: ServerFacts
        var sessionChanged = false
        var transactionEnds = TransactionEnds()
        /// Of no use after the present lease, for `condemnation`.
        var isCondemned = false
        var condemnation = Condition.reusable
        /// The earliest timer on its way; one is enough, since it is moved to the present deadline when it fires.
        var timer = EarliestTimer()
        var lastStatement: String?
        var onLostWhileIdle: (@Sendable (PostgresConnection) -> Void)?
        /// A batch is under way; it ends with the answer to its Sync, also when its caller has given up.
        var inPipeline = false

        /// The caller is to be told now, and the statement is left to `recover`.
        mutating func abandonOperation() -> Operation? {
            guard let operation = operation.take() else { return nil }
            phase = .abandoned
            note(operation.request.mayChangeSession ? max(.session, operation.changedSession) : operation.changedSession)
            noteEnds(unheard: operation)
            return operation
        }

        /// Nobody hears how it ends.
        mutating func noteEnds(unheard operation: Operation) {
            transactionEnds = transactionEnds + operation.transactionEnds
            if operation.request.mayCommit { transactionEnds.note(lasts: true) }
        }

        mutating func note(_ change: SessionChange) {
            switch change {
            case .none: break
            case .session: sessionChanged = true
            case .connection: condemn(.lost(reason: "nothing restores what was done to its session"))
            }
        }

        mutating func condemn(_ condition: Condition) {
            isCondemned = true
            condemnation = condition
        }
    }
}
