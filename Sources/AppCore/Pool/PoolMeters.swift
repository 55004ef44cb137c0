import Vitals

/// Counted beside the pool's lock, never under it.
final class PoolMeters: Sendable {
    private let acquire: [Histogram]
    /// By operation, then by outcome.
    private let query: [Histogram]
    let shed = LabelledCounter<ShedKey>(
        known: WorkClass.allCases.flatMap { workClass in ShedReason.allCases.map { ShedKey(workClass: workClass, reason: $0) } })
    let use = Histogram()
    let createSucceeded = Histogram()
    let createFailed = Histogram()
    let closed = LabelledCounter<PoolCloseReason>(known: PoolCloseReason.allCases)
    let leaks = Counter()
    let leaksReturned = Counter()
    let queryErrors = LabelledCounter<String>(known: Array(PoolMeters.sqlStateClasses) + ["other"])

    /// The classes told apart in metrics: connection, constraint, transaction, resources, operator.
    static let sqlStateClasses: Set<String> = ["08", "23", "40", "53", "57"]

    init() {
        // The indexes below repeat the order of the cases, by hand: a search in each count would be slow.
        precondition(PoolAcquireOutcome.allCases.map(\.index) == Array(PoolAcquireOutcome.allCases.indices))
        precondition(QueryOutcome.allCases.map(\.index) == Array(QueryOutcome.allCases.indices))
        precondition(SQL.Operation.allCases.map(\.index) == Array(SQL.Operation.allCases.indices))
        acquire = PoolAcquireOutcome.allCases.map { _ in Histogram() }
        query = Self.kinds.map { _ in Histogram() }
    }

    private static let kinds = SQL.Operation.allCases.flatMap { operation in
        QueryOutcome.allCases.map { QueryKind(operation: operation, outcome: $0) }
    }

    func acquireSnapshots() -> [PoolAcquireOutcome: HistogramSnapshot] {
        Dictionary(uniqueKeysWithValues: zip(PoolAcquireOutcome.allCases, acquire.map { $0.snapshot() }))
    }

    func querySnapshots() -> [QueryKind: HistogramSnapshot] {
        Dictionary(uniqueKeysWithValues: zip(Self.kinds, query.map { $0.snapshot() }))
    }

    func record(_ outcome: PoolAcquireOutcome, since asked: MonotonicInstant, now: MonotonicInstant) {
        acquire[outcome.index].record(nanoseconds: now.nanoseconds(since: asked))
    }

    func recordQuery(_ operation: SQL.Operation, since began: MonotonicInstant, now: MonotonicInstant, error: PostgresError?) {
        let outcome: QueryOutcome
        switch error {
        case nil: outcome = .ok
        case .deadlineExceeded: outcome = .timeout
        case .cancelled: outcome = .cancelled
        default: outcome = .error
        }
        query[operation.index * QueryOutcome.allCases.count + outcome.index].record(nanoseconds: now.nanoseconds(since: began))
        guard let error, outcome == .error || outcome == .timeout else { return }
        let sqlStateClass = error.sqlState.map { String($0.prefix(2)) }
        switch (error, sqlStateClass) {
        case (.connectionLost, _): queryErrors.add(for: "08")
        case (_, let known?) where Self.sqlStateClasses.contains(known): queryErrors.add(for: known)
        default: queryErrors.add(for: "other")
        }
    }
}

extension PoolAcquireOutcome {
    fileprivate var index: Int {
        switch self {
        case .immediate: 0
        case .waited: 1
        case .timeout: 2
        case .cancelled: 3
        case .refused: 4
        case .unavailable: 5
        }
    }
}

extension QueryOutcome {
    fileprivate var index: Int {
        switch self {
        case .ok: 0
        case .error: 1
        case .timeout: 2
        case .cancelled: 3
        }
    }
}

extension SQL.Operation {
    fileprivate var index: Int {
        switch self {
        case .select: 0
        case .insert: 1
        case .update: 2
        case .delete: 3
        case .with: 4
        case .transaction: 5
        case .other: 6
        }
    }
}
