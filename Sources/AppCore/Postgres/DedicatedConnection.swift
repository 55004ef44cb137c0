import Synchronization
public import Vitals

/// One connection outside the pool, for a watcher or a migration: it is there also when the pool is full.
///
/// Opened at the first query and again after it broke. For one caller at a time: a second one is told that it is busy.
public final class DedicatedConnection: Sendable {
    private let connector: PostgresConnector
    private let connection = Mutex<PostgresConnection?>(nil)

    public init(endpoint: PostgresEndpoint, applicationName: String, loop: EventLoop) {
        connector = PostgresConnector(
            endpoint: endpoint, applicationName: applicationName, loop: loop,
            calls: BlockingCalls(limit: 2 + endpoint.namesToResolve, loop: loop))
    }

    /// - Throws: `PostgresError`. After a deadline the connection is dropped: what is late is of no use to a watcher.
    public func query(_ sql: SQL, until deadline: Deadline) async throws(PostgresError) -> Rows {
        let connection = try await standing(until: deadline)
        do throws(PostgresError) {
            return try await connection.query(sql, until: deadline)
        } catch {
            if !isReusable(connection) { drop(connection) }
            throw error
        }
    }

    /// Several statements in one text, without parameters.
    public func script(_ text: String, until deadline: Deadline) async throws(PostgresError) {
        let connection = try await standing(until: deadline)
        do throws(PostgresError) {
            try await connection.script(text, until: deadline)
        } catch {
            if !isReusable(connection) { drop(connection) }
            throw error
        }
    }

    public func close() {
        let taken = connection.withLock { held in
            defer { held = nil }
            return held
        }
        taken?.close()
    }

    private func standing(until deadline: Deadline) async throws(PostgresError) -> PostgresConnection {
        if let standing = connection.withLock({ $0 }) {
            switch standing.condition {
            case .lost: drop(standing)
            // A watcher looks at the server that the application uses, not at one that has become another. What the caller has begun, it ends.
            case .demoted where !standing.activity.inTransaction: drop(standing)
            case .demoted, .reusable, .needsRecovery, .sessionChanged: return standing
            }
        }
        let opened: PostgresConnection
        do {
            opened = try await connector.connect(until: deadline)
        } catch let error as PostgresError {
            throw error
        } catch {
            throw .connectFailed("\(error)", sqlState: nil)
        }
        let replaced = connection.withLock { held in
            defer { held = opened }
            return held
        }
        replaced?.close()
        return opened
    }

    private func isReusable(_ connection: PostgresConnection) -> Bool {
        switch connection.condition {
        case .lost, .demoted: false
        // Inside the caller's own transaction: still good for its ROLLBACK.
        case .needsRecovery: connection.activity.inTransaction
        // What its only user changed stays as the user wants it.
        case .reusable, .sessionChanged: true
        }
    }

    private func drop(_ dropped: PostgresConnection) {
        connection.withLock { if $0 === dropped { $0 = nil } }
        dropped.close()
    }
}
