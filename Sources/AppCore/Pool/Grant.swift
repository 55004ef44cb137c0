/// A connection that somebody has got, and the slot that knows it.
struct Granted: Sendable {
    var slot: PoolState.Slot
    var connection: PostgresConnection
}

/// Who is told that its turn has come, or that it will not come. One closure and no enum of them: an optional of that is a pointer,
/// where the other is taken apart by the runtime at every lease.
struct Grant: Sendable {
    let tell: @Sendable (Result<Granted, PoolError>) -> Void
    /// Whether it belongs to the task that asks, and goes with it.
    var isTask = false

    init(_ tell: @escaping @Sendable (Result<Granted, PoolError>) -> Void) {
        self.tell = tell
    }

    init(_ continuation: CheckedContinuation<Granted, any Error>) {
        tell = { continuation.resume(with: $0.mapError { $0 }) }
        isTask = true
    }
}
