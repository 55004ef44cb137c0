public import GRDB

/// The daemon's own durable state: one SQLite file in the state folder. It works when PostgreSQL is what failed.
///
/// WAL with full sync: a committed transaction survives a crash of the machine. Writers are serialised.
public struct LocalStore: Sendable {
    public let writer: any DatabaseWriter

    /// Opens or creates the file and applies what `migrator` still lacks.
    ///
    /// - Throws: `LocalStoreError` naming the file when it cannot be opened, is not a database or is newer than this program.
    public init(path: String, migrator: DatabaseMigrator) throws {
        var configuration = Configuration()
        configuration.label = "local-store"
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        do {
            let pool = try DatabasePool(path: path, configuration: configuration)
            if try pool.read({ try migrator.hasBeenSuperseded($0) }) {
                throw LocalStoreError(path: path, reason: "it was written by a newer healthd")
            }
            try migrator.migrate(pool)
            writer = pool
        } catch let error as LocalStoreError {
            throw error
        } catch {
            throw LocalStoreError(path: path, reason: Self.words(for: error))
        }
    }

    /// SQLite's own sentence; without the statement it came from, which is ours.
    private static func words(for error: any Error) -> String {
        guard let error = error as? DatabaseError else { return "\(error)" }
        let advice =
            switch error.resultCode {
            case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM: "; may whoever runs healthd write to that folder?"
            case .SQLITE_FULL, .SQLITE_IOERR: "; has the disk room, and is it well?"
            case .SQLITE_BUSY, .SQLITE_LOCKED: "; another program has it open"
            case .SQLITE_NOTADB, .SQLITE_CORRUPT: "; move the file away to begin with a new one"
            default: ""
            }
        return (error.message ?? "SQLite error \(error.resultCode.rawValue)") + advice
    }

    private init(writer: any DatabaseWriter) {
        self.writer = writer
    }

    /// A store that lives as long as the value: for tests.
    public static func inMemory(migrator: DatabaseMigrator) throws -> LocalStore {
        let queue = try DatabaseQueue()
        try migrator.migrate(queue)
        return LocalStore(writer: queue)
    }
}

public struct LocalStoreError: Error, CustomStringConvertible {
    public let path: String
    public let reason: String

    public var description: String { "the local state \(path) cannot be used: \(reason)" }
}
