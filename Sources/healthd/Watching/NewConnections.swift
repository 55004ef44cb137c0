import AppCore
import Probes
import Vitals

/// Whether a new connection can be had. One that stands proves nothing: it goes on when the password has changed, when pg_hba.conf shuts the door,
/// when the server is full.
enum NewConnections {
    struct Refusal {
        var error: PostgresError
        /// The application still has connections, until they are too old or break.
        var othersStand: Bool
    }

    /// Once in so long a new connection is opened, unless the pool has just opened one.
    static let interval = Duration.seconds(10)
    /// What the latest attempt was refused with, be it one of the pool, which opens what it needs, or of the watcher. Nil while connections can be had.
    static func refusal(beside connection: DedicatedConnection, _ pool: PoolStatistics?, now: MonotonicInstant) -> Refusal? {
        refusal([pool?.newestConnect, connection.newestConnect(now: now)].compactMap(\.self), pool)
    }

    static func refusal(_ attempts: [NewestConnect], _ pool: PoolStatistics?) -> Refusal? {
        guard let newest = attempts.max(by: { $0.at < $1.at }), let error = newest.error else { return nil }
        if let pool, pool.unavailable != nil { return Refusal(error: error, othersStand: false) }
        // With no connection left there is no need to wait for another attempt.
        guard newest.isMoreThanChance else { return nil }
        // A pool that has all it may have needs no more: the limit may be just as wide.
        if let pool, pool.total >= pool.max, SQLState.meaning(of: error.sqlState ?? "") == .full { return nil }
        return Refusal(error: error, othersStand: true)
    }

    /// Whether the server is there and refuses a new connection, whatever for, while the application has some. One that goes down, or has not come up,
    /// answers as well.
    static func isTurnedAway(_ error: PostgresError, beside pool: PoolStatistics?) -> Bool {
        guard case .connectFailed(_, let sqlState?) = error, let pool, pool.unavailable == nil, pool.total > pool.connecting else { return false }
        return SQLState.meaning(of: sqlState) != .away
    }

    /// Opens a new connection at a low rate.
    ///
    /// - Parameter timeout: what an attempt of the pool's may take.
    static func probe(
        _ connection: DedicatedConnection, interval: Duration = interval, timeout: Duration, time: any TimeSource,
        pool: @escaping @Sendable () -> PoolStatistics
    ) -> Probe {
        Probe(id: "postgres-connect", component: "postgres", interval: max(interval, timeout), timeout: timeout, atTimeout: .left) {
            if let newest = pool().newestConnect, newest.error == nil, case let age = time.now() - newest.at, age < interval {
                return Measurement(summary: "the pool opened one \(age.text) ago")
            }
            // The watcher without a connection tries at each look.
            guard connection.isStanding else { return Measurement(summary: "the watcher has none") }
            do throws(PostgresError) {
                try await connection.proveNew()
            } catch {
                throw PostgresWatch.failure(error, timeout: timeout)
            }
            return Measurement(summary: "opened")
        }
    }
}

extension NewestConnect {
    /// One attempt may fail by chance, and two in a row do not. One that nobody answers is enough: no other begins until it ends.
    var isMoreThanChance: Bool { error != nil && (isUnanswered || failuresInRow >= 2) }
}
