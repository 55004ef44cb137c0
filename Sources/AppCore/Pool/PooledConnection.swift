/// A connection, and the slot of the pool that it is in.
struct PooledConnection: Sendable {
    var slot: PoolState.Slot
    var connection: PostgresConnection
}
