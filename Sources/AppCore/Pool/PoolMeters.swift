import Vitals

/// Counted beside the pool's lock, never under it.
final class PoolMeters: Sendable {
    let acquire: [PoolAcquireOutcome: Histogram]
    let use = Histogram()
    let createSucceeded = Histogram()
    let createFailed = Histogram()
    let query: [QueryKind: Histogram]
    let closed = LabelledCounter<PoolCloseReason>(known: PoolCloseReason.allCases)
    let leaks = Counter()
    let queryErrors = LabelledCounter<String>(known: Array(PoolMeters.sqlStateClasses) + ["other"])

    /// The classes told apart in metrics: connection, constraint, transaction, resources, operator.
    static let sqlStateClasses: Set<String> = ["08", "23", "40", "53", "57"]

    init() {
        acquire = Dictionary(uniqueKeysWithValues: PoolAcquireOutcome.allCases.map { ($0, Histogram()) })
        query = Dictionary(
            uniqueKeysWithValues: SQL.Operation.allCases.flatMap { operation in
                QueryOutcome.allCases.map { (QueryKind(operation: operation, outcome: $0), Histogram()) }
            })
    }

    func recordQuery(_ operation: SQL.Operation, took: Duration, error: PostgresError?) {
        let outcome: QueryOutcome
        switch error {
        case nil: outcome = .ok
        case .deadlineExceeded: outcome = .timeout
        case .cancelled: outcome = .cancelled
        default: outcome = .error
        }
        query[QueryKind(operation: operation, outcome: outcome)]?.record(took)
        guard let error, outcome == .error || outcome == .timeout else { return }
        let sqlStateClass = error.sqlState.map { String($0.prefix(2)) }
        switch (error, sqlStateClass) {
        case (.connectionLost, _): queryErrors.add(for: "08")
        case (_, let known?) where Self.sqlStateClasses.contains(known): queryErrors.add(for: known)
        default: queryErrors.add(for: "other")
        }
    }
}
