public import Vitals

/// The use of one connection for the length of a closure. It cannot be kept, copied or handed to another task.
///
/// All its statements share one deadline with the wait for the connection.
public struct Lease: ~Copyable {
    let connection: PostgresConnection
    private let meters: PoolMeters
    /// How many savepoints `transaction` has made: each has a name of its own.
    var savepoints = 0
    /// A rollback has failed: nothing may be committed any more.
    var isSpoilt = false
    /// By when the caller needs its answer.
    public let deadline: Deadline

    init(_ connection: PostgresConnection, deadline: Deadline, meters: PoolMeters) {
        self.connection = connection
        self.deadline = deadline
        self.meters = meters
    }

    /// The server process that serves this lease, as in `pg_stat_activity`; 0 behind a pooler, where each transaction may have another.
    public var backendPID: Int { Int(connection.backendPID) }

    public mutating func query(_ sql: SQL) async throws(PostgresError) -> Rows {
        let started = MonotonicInstant.now()
        do throws(PostgresError) {
            let rows = try await connection.query(sql, until: deadline)
            meters.recordQuery(sql.operation, since: started, now: .now(), error: nil)
            return rows
        } catch {
            meters.recordQuery(sql.operation, since: started, now: .now(), error: error)
            throw error
        }
    }

    /// - Returns: rows changed.
    @discardableResult
    public mutating func execute(_ sql: SQL) async throws(PostgresError) -> Int {
        try await query(sql).affected
    }

    /// Independent statements in one round trip, in pipeline mode: their rows, in order.
    ///
    /// None may need the rows of another. Outside a transaction block they are one implicit transaction: an error undoes all of them, and is
    /// thrown.
    public mutating func batch(_ statements: [SQL]) async throws(PostgresError) -> [Rows] {
        guard !statements.isEmpty else { return [] }
        let started = MonotonicInstant.now()
        do throws(PostgresError) {
            let rows = try await connection.batch(statements, until: deadline)
            // Each counts with the time of all: that is how long its caller waited.
            let now = MonotonicInstant.now()
            for sql in statements { meters.recordQuery(sql.operation, since: started, now: now, error: nil) }
            return rows
        } catch {
            meters.recordQuery(statements[0].operation, since: started, now: .now(), error: error)
            throw error
        }
    }

    /// Several statements without parameters, e.g. a migration. Outside a transaction block they are one transaction.
    ///
    /// A COPY whose rows come from the client, or go to it, is an error. FROM STDIN undoes the whole text. With TO STDOUT the rest of the text
    /// may have taken effect.
    public mutating func script(_ text: String) async throws(PostgresError) {
        let started = MonotonicInstant.now()
        do throws(PostgresError) {
            try await connection.script(text, until: deadline)
            meters.recordQuery(.other, since: started, now: .now(), error: nil)
        } catch {
            meters.recordQuery(.other, since: started, now: .now(), error: error)
            throw error
        }
    }

    /// Tells the pool that this lease changed its session in a way that its statements do not show: in a function, procedure or trigger of your
    /// own. `SessionChange` says what is noticed without it.
    ///
    /// When the lease ends the pool restores the session (DISCARD ALL) before anyone else gets it. Behind a pooler in transaction mode
    /// the change may be on a server connection of which this process knows nothing: keep to SET LOCAL there.
    public mutating func changesSession() {
        connection.markSessionChanged()
    }
}
