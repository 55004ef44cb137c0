public import Logging
public import Vitals

/// Brings a database's tables to what this program needs.
///
/// Any number of processes may start at once: one applies, the others wait by asking again, and find nothing left to do. The lock
/// is asked for with `pg_try_advisory_lock` and never waited for: a blocked waiter would hold a snapshot, and could deadlock
/// with an index being built (seen with PostgreSQL 15).
public struct Migrator: Sendable {
    private let database: Database
    private let migrations: [Migration]
    private let time: any TimeSource
    private let logger: Logger

    public init(
        database: Database, migrations: [Migration] = Migration.embedded, time: any TimeSource = SystemTime(),
        logger: Logger = Logger(label: "migrations")
    ) {
        self.database = database
        self.migrations = migrations
        self.time = time
        self.logger = logger
    }

    /// "healthd" in ASCII: the key of the advisory lock.
    private static let lockKey = 0x6865616C746864

    /// Applies what is missing, each file in a transaction of its own, and verifies the indexes.
    ///
    /// - Parameters:
    ///   - patience: how long to ask for the lock while another process migrates.
    ///   - progress: called before each file, with its name.
    /// - Returns: names of the files applied now.
    /// - Throws: `SchemaError`; `PoolError` or `PostgresError` when there is no database.
    @discardableResult
    public func up(
        patience: Duration = .seconds(60), progress: @Sendable (String) -> Void = { _ in }
    ) async throws -> [String] {
        let giveUpAt = time.now() + patience
        var applied: [String] = []
        while true {
            switch try await step(progress) {
            case .applied(let name):
                logger.info("migration applied", metadata: ["file": "\(name)"])
                applied.append(name)
            case .nothingLeft:
                return applied
            case .lockedByAnother:
                guard time.now() < giveUpAt else { throw SchemaError.locked(after: patience.text) }
                try await time.sleep(for: .milliseconds(100))
            }
        }
    }

    private enum Step: Sendable {
        case applied(String)
        case nothingLeft
        case lockedByAnother
    }

    /// One transaction: lock, look, apply the first file that is missing. The lock goes with the transaction, however that ends.
    private func step(_ progress: @Sendable (String) -> Void) async throws -> Step {
        try await database.withTransaction(for: "migrate", within: .seconds(300)) { lease in
            let locked = try await lease.query("SELECT pg_try_advisory_xact_lock(\(Self.lockKey)::bigint) AS locked").first?.bool("locked")
            guard locked == true else { return .lockedByAnother }
            // Not IF NOT EXISTS, of which the server would tell each time that there is nothing to do.
            if try await !hasTable(&lease) {
                try await lease.execute(
                    """
                    CREATE TABLE healthd_migrations (
                        name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
                    """)
            }
            let status = MigrationStatus(known: migrations, applied: try await applied(&lease))
            if let problem = status.problem { throw problem }
            guard let next = status.pending.first else {
                if let invalid = try await invalidIndex(&lease) { throw SchemaError.invalidIndex(invalid) }
                return .nothingLeft
            }
            progress(next.name)
            do {
                try await lease.script(next.text)
                try await lease.execute("INSERT INTO healthd_migrations (name, checksum) VALUES (\(next.name), \(next.checksum))")
            } catch let error as PostgresError {
                throw SchemaError.failed(file: next.name, reason: "\(error)")
            }
            return .applied(next.name)
        }
    }

    /// What is applied and what is not; changes nothing. A database without the table of migrations has none.
    public func status() async throws -> MigrationStatus {
        try await database.withConnection(for: "migrate.status") { lease in
            var status = MigrationStatus(known: migrations, applied: try await hasTable(&lease) ? applied(&lease) : [])
            if status.problem == nil, status.pending.isEmpty, let invalid = try await invalidIndex(&lease) {
                status.problem = .invalidIndex(invalid)
            }
            return status
        }
    }

    private func hasTable(_ lease: inout Lease) async throws -> Bool {
        try await lease.query("SELECT to_regclass('healthd_migrations') IS NOT NULL AS present").first?.bool("present") ?? false
    }

    private func applied(_ lease: inout Lease) async throws -> [MigrationStatus.Applied] {
        try await lease.query("SELECT name, checksum, applied_at FROM healthd_migrations ORDER BY name").map { row in
            try MigrationStatus.Applied(name: row.string("name"), checksum: row.string("checksum"), appliedAt: row.time("applied_at"))
        }
    }

    /// The first index of ours that is missing, not valid or not ready; nil when all serve.
    private func invalidIndex(_ lease: inout Lease) async throws -> String? {
        let wanted = migrations.flatMap(\.indexes)
        let valid = try await lease.query(
            """
            SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE c.relname = ANY(\(wanted)::text[]) AND pg_table_is_visible(c.oid) AND i.indisvalid AND i.indisready
            """
        ).map { row in try row.string("name") }
        return wanted.first { !valid.contains($0) }
    }
}
