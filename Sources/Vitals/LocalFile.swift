import GRDB

#if canImport(Glibc)
    import Glibc
#endif

/// The file behind a `LocalStore`: opened, tried, read as far as it goes, set aside.
struct LocalFile: Sendable {
    let path: String
    let migrator: DatabaseMigrator

    /// The file itself, whatever its name: another in its place is another.
    struct Identity: Sendable, Hashable {
        var device: UInt64
        var number: UInt64
    }

    /// What SQLite itself has no error for.
    struct Unusable: Error {
        var reason: String
        var isDamage: Bool

        init(_ reason: String, isDamage: Bool = false) {
            self.reason = reason
            self.isDamage = isDamage
        }
    }

    /// One that is in use.
    struct Opened: Sendable {
        var connection: DatabaseQueue
        var identity: Identity?
    }

    /// Nil when there is none.
    var identity: Identity? {
        var found = stat()
        return stat(path, &found) == 0 ? Identity(device: UInt64(found.st_dev), number: UInt64(found.st_ino)) : nil
    }

    /// Whole, migrated and written to once.
    func open() throws -> Opened {
        let queue = try DatabaseQueue(path: path, configuration: Self.configuration())
        try queue.inDatabase { database in
            // No write-ahead log: SQLite maps its index into our memory, and a disk that fails, or whoever truncates that file, would end the process
            // with SIGBUS. Nobody reads while we write, so the log would gain nothing.
            let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode = TRUNCATE")
            guard mode == "truncate" else { throw Unusable("SQLite cannot keep its journal there; does another program have it open?") }
            // With this a commit survives a crash of the machine.
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        let findings = try queue.read { try String.fetchAll($0, sql: "PRAGMA quick_check(1)") }
        guard findings == ["ok"] else { throw Unusable("it is damaged: \(findings.first ?? "SQLite does not say where")", isDamage: true) }
        if try queue.read({ try migrator.hasBeenSuperseded($0) }) { throw Unusable("it was written by a newer healthd", isDamage: true) }
        try migrator.migrate(queue)
        // The migrator believes what the file says of itself.
        let lacks = try RowCopy.tables(of: memory()).subtracting(RowCopy.tables(of: queue)).sorted()
        guard lacks.isEmpty else { throw Unusable("it lacks tables: \(lacks.joined(separator: ", "))", isDamage: true) }
        try queue.write { try $0.execute(sql: Self.writeMark) }
        return Opened(connection: queue, identity: identity)
    }

    /// A number in the file's header that is written again: the least that shows that there is room, and the right to write.
    private static let writeMark = "PRAGMA user_version = 1"

    /// Whether it can be written to, and is what it was when it was opened.
    func tryWriting(to opened: Opened) throws {
        guard identity == opened.identity else { throw Unusable("the file is gone, or another has its place") }
        try opened.connection.write { database in
            guard try Int.fetchOne(database, sql: "PRAGMA user_version") == 1 else { throw Unusable("somebody has emptied it") }
            try database.execute(sql: Self.writeMark)
        }
    }

    /// An empty store in memory. Its row numbers begin beyond those of any file, so that both can be put together.
    func memory() throws -> DatabaseQueue {
        let queue = try DatabaseQueue(configuration: Self.configuration("PRAGMA temp_store = MEMORY"))
        try migrator.migrate(queue)
        let counted = try queue.read { database in
            try String.fetchAll(
                database, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' AND name NOT LIKE 'sqlite%'")
        }
        let beyond = SystemTime().wallNow().microsecondsSince1970
        try RowCopy.setNumbers(Dictionary(counted.map { ($0, beyond) }) { first, _ in first }, in: queue)
        return queue
    }

    /// A copy of its rows, in memory.
    func rows(of opened: Opened) throws -> DatabaseQueue {
        let rows = try memory()
        try RowCopy.copyWhole(from: opened.connection, into: rows)
        return rows
    }

    /// What could be read of a file that cannot be used.
    struct Salvage: Sendable {
        var rows: DatabaseQueue
        /// There was a way to read it in which no more went wrong than that pages are damaged.
        var isReadable = false
    }

    /// Reads the file in whatever way it can be opened.
    func salvaged() throws -> Salvage {
        var salvage = Salvage(rows: try memory())
        guard identity != nil else { return salvage }
        let ways: [(String, Configuration)] = [
            // Of a file with a write-ahead log, as an older healthd had it, this keeps the log's index in memory: it needs no room on the disk.
            (path, Self.configuration("PRAGMA locking_mode = EXCLUSIVE")),
            (path, Self.configuration(readonly: true)),
            // Without its journal or its log, for a medium that nothing can be written to.
            ("file:\(PercentEncoding.encoded(path: path))?immutable=1", Self.configuration(readonly: true)),
        ]
        for (path, configuration) in ways {
            guard let queue = try? DatabaseQueue(path: path, configuration: configuration) else { continue }
            defer { try? queue.close() }
            salvage.isReadable = (try? RowCopy.copy(from: queue, into: salvage.rows)) ?? false
            if salvage.isReadable { break }
        }
        return salvage
    }

    /// Renames the file, with what belongs to it, to a name with the time.
    ///
    /// - Returns: the new name.
    func setAside(at wall: WallTime) throws -> String {
        let moment = wall.rfc3339.prefix(19).filter { $0 != "-" && $0 != ":" }
        var name = "\(path).damaged-\(moment)Z"
        var number = 1
        while access(name, F_OK) == 0 {
            number += 1
            name = "\(path).damaged-\(moment)Z-\(number)"
        }
        guard rename(path, name) == 0 else { throw Unusable("it cannot be set aside: \(String(cString: strerror(errno)))") }
        // A journal that stayed would be taken for the next file's.
        for part in ["-journal", "-wal", "-shm"] { _ = rename(path + part, name + part) }
        return name
    }

    private static func configuration(_ pragma: String? = nil, readonly: Bool = false) -> Configuration {
        var configuration = Configuration()
        configuration.label = "local-store"
        configuration.busyMode = .timeout(2)
        configuration.readonly = readonly
        if let pragma { configuration.prepareDatabase { try $0.execute(sql: pragma) } }
        return configuration
    }
}

extension LocalFile {
    /// Whether another process has the file just now: what it holds is not ours to tell.
    static func isInUse(_ error: any Error) -> Bool {
        if error is LocalStore.InUse { return true }
        let code = (error as? DatabaseError)?.resultCode
        return code == .SQLITE_BUSY || code == .SQLITE_LOCKED
    }

    /// Whether the file will never do, however much room and rights there are.
    static func isDamaged(_ error: any Error) -> Bool {
        if let unusable = error as? Unusable { return unusable.isDamage }
        guard let error = error as? DatabaseError else { return false }
        switch error.resultCode {
        // The first: tables of the same names that are not ours.
        case .SQLITE_ERROR, .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT: return true
        default: return false
        }
    }

    /// The file's name and SQLite's own sentence; without the statement it came from, which is ours.
    func words(for error: any Error) -> String { "\(path): \(Self.reason(of: error))" }

    private static func reason(of error: any Error) -> String {
        if let unusable = error as? Unusable { return unusable.reason }
        guard let error = error as? DatabaseError else { return "\(error)" }
        let advice =
            switch error.resultCode {
            case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM: "; may whoever runs healthd write to that folder?"
            case .SQLITE_FULL, .SQLITE_IOERR: "; has the disk room, and is it well?"
            case .SQLITE_BUSY, .SQLITE_LOCKED: "; another program has it open"
            default: ""
            }
        return (error.message ?? "SQLite error \(error.resultCode.rawValue)") + advice
    }
}
