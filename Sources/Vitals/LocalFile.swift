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

    /// Nil when there is none.
    var identity: Identity? {
        var found = stat()
        return stat(path, &found) == 0 ? Identity(device: UInt64(found.st_dev), number: UInt64(found.st_ino)) : nil
    }

    /// Whole, migrated and written to once.
    func open() throws -> DatabaseQueue {
        let queue = try DatabaseQueue(path: path, configuration: Self.configuration())
        // Not GRDB's own way to this mode: it would take the full sync back, with which a commit survives a crash of the machine.
        try queue.inDatabase { database in
            let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL")
            guard mode == "wal" else { throw Unusable("SQLite cannot keep its write-ahead log there") }
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        let findings = try queue.read { try String.fetchAll($0, sql: "PRAGMA quick_check(1)") }
        guard findings == ["ok"] else { throw Unusable("it is damaged: \(findings.first ?? "SQLite does not say where")", isDamage: true) }
        if try queue.read({ try migrator.hasBeenSuperseded($0) }) { throw Unusable("it was written by a newer healthd", isDamage: true) }
        try migrator.migrate(queue)
        // The migrator believes what the file says of itself.
        let lacks = try RowCopy.tables(of: memory()).subtracting(RowCopy.tables(of: queue)).sorted()
        guard lacks.isEmpty else { throw Unusable("it lacks tables: \(lacks.joined(separator: ", "))", isDamage: true) }
        try tryWriting(to: queue)
        return queue
    }

    /// A number in the file's header is written again: the least that shows that there is room, and the right to write.
    func tryWriting(to queue: DatabaseQueue) throws {
        try queue.write { try $0.execute(sql: "PRAGMA user_version = 1") }
    }

    /// An empty store in memory. Its row numbers begin beyond those of any file, so that both can be put together.
    func memory() throws -> DatabaseQueue {
        let queue = try DatabaseQueue(configuration: Self.configuration("PRAGMA temp_store = MEMORY"))
        try migrator.migrate(queue)
        try queue.write { database in
            let counted = try String.fetchAll(
                database, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' AND name NOT LIKE 'sqlite%'")
            for table in counted {
                try database.execute(
                    sql: "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)",
                    arguments: [table, SystemTime().wallNow().microsecondsSince1970])
            }
        }
        return queue
    }

    /// Copies what can be read of the file, in whatever way it can be opened.
    ///
    /// - Returns: whether it could be read at all.
    func salvage(into memory: DatabaseQueue) -> Bool {
        guard identity != nil else { return false }
        let ways: [(String, Configuration)] = [
            // Keeps the index of the write-ahead log in memory: it needs no room on the disk.
            (path, Self.configuration("PRAGMA locking_mode = EXCLUSIVE")),
            (path, Self.configuration(readonly: true)),
            // Without the write-ahead log, for a medium that nothing can be written to.
            ("file:\(PercentEncoding.encoded(path: path))?immutable=1", Self.configuration(readonly: true)),
        ]
        for (path, configuration) in ways {
            guard let queue = try? DatabaseQueue(path: path, configuration: configuration) else { continue }
            defer { try? queue.close() }
            if (try? RowCopy.copy(from: queue, into: memory)) == true { return true }
        }
        return false
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
        for part in ["-wal", "-shm"] { _ = rename(path + part, name + part) }
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
    /// Whether the error may be the file's or the disk's, and not of what was asked.
    static func isAtFault(_ error: DatabaseError) -> Bool {
        switch error.resultCode {
        case .SQLITE_CONSTRAINT, .SQLITE_TOOBIG, .SQLITE_RANGE, .SQLITE_MISUSE, .SQLITE_INTERRUPT, .SQLITE_ABORT, .SQLITE_NOMEM: false
        default: true
        }
    }

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
