import FoundationEssentials
import GRDB
import Glibc
import TestServers
import Testing

@testable import Vitals

/// What a store promises while its file is damaged, locked, full, read-only, gone, or not ours.
@Suite struct `A local store` {
    let folder: String
    let time = ManualTime()
    let lines = LogLines()

    init() throws {
        folder = "\(FileManager.default.temporaryDirectory.path())/healthd-store-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    private var file: String { "\(folder)/healthd.sqlite" }

    private static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { database in
            try database.execute(
                sql: """
                    CREATE TABLE things (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
                    CREATE TABLE parts (thing INTEGER NOT NULL REFERENCES things(number) ON DELETE CASCADE, part TEXT NOT NULL, PRIMARY KEY (thing, part));
                    """)
        }
        return migrator
    }

    private func store(prepare: @escaping @Sendable () throws -> Void = {}) throws -> LocalStore {
        try LocalStore(path: file, migrator: Self.migrator, time: time, logger: lines.logger, prepare: prepare)
    }

    private func add(_ names: String..., to store: LocalStore) async throws {
        for name in names {
            try await store.write { database in
                try database.execute(sql: "INSERT INTO things (name) VALUES (?)", arguments: [name])
                try database.execute(sql: "INSERT INTO parts VALUES (?, 'p')", arguments: [database.lastInsertedRowID])
            }
        }
    }

    private func names(in store: LocalStore) async throws -> [String] {
        try await store.read { try String.fetchAll($0, sql: "SELECT name FROM things JOIN parts ON thing = number ORDER BY number") }
    }

    private var setAside: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains("damaged") } }
    }

    @Test func `flushes each commit to the disk`() async throws {
        let store = try self.store()
        #expect(try await store.read { try Int.fetchOne($0, sql: "PRAGMA synchronous") } == 2)
        #expect(try await store.read { try String.fetchOne($0, sql: "PRAGMA journal_mode") } == "wal")
        #expect(store.trouble == nil && !store.isInMemory)
        try FileManager.default.removeItem(atPath: folder)
    }

    enum Fault: String, CaseIterable, Sendable {
        case full, readOnly, locked, gone, replaced, folderGone
    }

    @Test(arguments: Fault.allCases)
    func `A7: goes on in memory with all it had, and returns to the file with all that came`(_ fault: Fault) async throws {
        let folder = self.folder
        let store = try self.store { mkdir(folder, 0o755) }
        try await add("a", "b", to: store)
        try await store.write { try $0.execute(sql: "DELETE FROM things WHERE name = 'a'") }
        var other: DatabaseQueue?
        switch fault {
        // Limits of one connection: another finds the disk well again.
        case .full: try await store.write { try $0.execute(sql: "PRAGMA max_page_count = 1") }
        case .readOnly: try await store.write { try $0.execute(sql: "PRAGMA query_only = 1") }
        case .locked:
            var configuration = Configuration()
            configuration.allowsUnsafeTransactions = true
            let queue = try DatabaseQueue(path: file, configuration: configuration)
            try await queue.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
            other = queue
        case .gone: try FileManager.default.removeItem(atPath: file)
        case .folderGone: try FileManager.default.removeItem(atPath: folder)
        case .replaced:
            try FileManager.default.removeItem(atPath: file)
            try Data().write(to: URL(filePath: file))
        }
        if [.gone, .replaced, .folderGone].contains(fault) { await store.tend() }
        try await store.write { try $0.execute(sql: "INSERT INTO things (name) VALUES (?)", arguments: [String(repeating: "c", count: 100_000)]) }
        try await add("d", to: store)
        #expect(store.isInMemory)
        #expect(store.trouble?.hasPrefix(file) == true, "\(store.trouble ?? "")")
        #expect(try await names(in: store).suffix(1) == ["d"])
        if let queue = other {
            await store.tend()
            #expect(store.isInMemory && store.trouble?.contains("locked") == true, "\(store.trouble ?? "")")
            try await queue.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
        }
        other = nil
        await store.tend()
        time.advance(by: LocalStore.damageIsNews)
        #expect(store.trouble == nil && !store.isInMemory)
        #expect(try await names(in: store) == ["b", "d"])
        #expect(try await names(in: self.store()) == ["b", "d"])
        #expect(lines.all.count { $0.hasPrefix("critical") } <= 1)
        try FileManager.default.removeItem(atPath: folder)
    }

    /// In place: a connection that has the file open must meet it.
    private static func overwrite(_ file: String) throws {
        let length = try Data(contentsOf: URL(filePath: file)).count
        try Data((0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }).write(to: URL(filePath: file))
    }

    /// A file that was closed a moment ago may still be locked.
    private static var patient: Configuration {
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        configuration.busyMode = .timeout(30)
        return configuration
    }

    enum Damage: String, CaseIterable, Sendable {
        case nonsense, truncated, aPage, aTable, newer, foreign
    }

    @Test(arguments: Damage.allCases)
    func `A7: sets a file aside that will never do, under a name with the time, and takes over what can be read of it`(_ damage: Damage) async throws {
        do {
            let store = try self.store()
            for number in 0..<60 { try await add(String(repeating: "n", count: 900) + "\(number)", to: store) }
            try await store.write { try $0.execute(sql: "PRAGMA user_version = 1") }
        }
        let log = file + "-wal"
        try await until("it is closed") { !FileManager.default.fileExists(atPath: log) }
        var salvaged = 0...0
        switch damage {
        case .nonsense: try Self.overwrite(file)
        case .truncated:
            let bytes = try Data(contentsOf: URL(filePath: file))
            try bytes.prefix(bytes.count / 2).write(to: URL(filePath: file))
            salvaged = 0...59
        case .aPage:
            var bytes = Array(try Data(contentsOf: URL(filePath: file)))
            for index in 40_960..<45_056 { bytes[index] = 0xA5 }
            try Data(bytes).write(to: URL(filePath: file))
            salvaged = 1...60
        case .aTable:
            // The file says of itself that it is whole.
            try await DatabaseQueue(path: file, configuration: Self.patient).write { try $0.execute(sql: "DROP TABLE parts") }
        case .newer:
            try await DatabaseQueue(path: file, configuration: Self.patient).write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('of the future')") }
            salvaged = 60...60
        case .foreign:
            try FileManager.default.removeItem(atPath: file)
            try await DatabaseQueue(path: file, configuration: Self.patient).write { try $0.execute(sql: "CREATE TABLE things (other TEXT)") }
        }
        let store = try self.store()
        #expect(!store.isInMemory)
        #expect(store.trouble?.contains("set aside as \(file).damaged-20270115T080000Z") == true, "\(store.trouble ?? "")")
        #expect(try setAside.contains("healthd.sqlite.damaged-20270115T080000Z"))
        #expect(try await salvaged.contains(names(in: store).count))
        try await add("more", to: store)
        time.advance(by: LocalStore.damageIsNews)
        #expect(store.trouble == nil, "it is told of for a while")
        #expect(try await names(in: self.store()).last == "more")

        // A medium that damages all that it is given is not filled up: the next time is not so soon.
        try Self.overwrite(file)
        for _ in 0..<5 {
            await store.tend()
            time.advance(by: .seconds(1))
        }
        try await add("still more", to: store)
        #expect(try setAside.count { !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm") } == 1)
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `A7: a file that could not be read at the start and can be later gives its rows to those that came`() async throws {
        try await add("a", to: self.store())
        let isThere = Counter()
        struct NoFolder: Error {}
        let file = self.file
        // As a file of another user, which root could read all the same.
        try FileManager.default.moveItem(atPath: file, toPath: file + ".away")
        let store = try self.store { guard isThere.value > 0 else { throw NoFolder() } }
        #expect(store.isInMemory)
        try await add("b", to: store)
        let before = store.rowsRevision
        try FileManager.default.moveItem(atPath: file + ".away", toPath: file)
        isThere.add()
        await store.tend()
        #expect(try await names(in: store) == ["a", "b"], "in their order")
        #expect(store.rowsRevision > before && !store.isInMemory)
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `A7: rows that another process has are not taken over: they are its to send`() async throws {
        try await add("a", to: self.store())
        let isOurs = Counter()
        let store = try self.store { guard isOurs.value > 0 else { throw LocalStore.InUse("another healthd uses the state folder") } }
        #expect(store.isInMemory && store.trouble == "\(file): another healthd uses the state folder")
        #expect(try await names(in: store) == [])
        isOurs.add()
        await store.tend()
        #expect(try await names(in: store) == ["a"])

        // Nor when the folder is taken while this process runs.
        try await store.write { try $0.execute(sql: "UPDATE things SET name = 'ours until now'") }
        isOurs.add(-1)
        await store.tend()
        #expect(store.isInMemory)
        #expect(try await names(in: store) == [])
        try await add("new", to: store)
        isOurs.add()
        await store.tend()
        #expect(try await names(in: store) == ["ours until now", "new"])
        try await store.write { try $0.execute(sql: "DELETE FROM things WHERE name = 'new'; UPDATE things SET name = 'a'") }

        // And while another program writes to it.
        let other = try DatabaseQueue(path: file, configuration: Self.patient)
        try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE; UPDATE things SET name = 'b'") }
        let late = try self.store()
        #expect(late.isInMemory && late.trouble?.contains("another program has it open") == true)
        #expect(try await names(in: late) == [])
        try await other.writeWithoutTransaction { try $0.execute(sql: "COMMIT") }
        await late.tend()
        #expect(try await names(in: late) == ["b"])
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `A7: a file that can only be read without its log is read, whatever its folder is called`() throws {
        let folder = "\(self.folder)/a?b#c%41 d"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let file = LocalFile(path: "\(folder)/healthd.sqlite", migrator: Self.migrator)
        let queue = try file.open()
        try queue.write { try $0.execute(sql: "INSERT INTO things (name) VALUES ('a')") }
        try queue.close()
        // What stands in the log's place is none: only who asks for no log can open the file.
        try FileManager.default.createDirectory(atPath: file.path + "-wal", withIntermediateDirectories: false)
        let memory = try file.memory()
        #expect(file.salvage(into: memory))
        #expect(try memory.read { try String.fetchAll($0, sql: "SELECT name FROM things") } == ["a"])
        try FileManager.default.removeItem(atPath: self.folder)
    }

    @Test func `A7: a statement that is wrong itself is an error, and no fault of the file`() async throws {
        let store = try self.store()
        await #expect(throws: DatabaseError.self) { try await store.write { try $0.execute(sql: "INSERT INTO nothing VALUES (1)") } }
        try await add("a", to: store)
        await #expect(throws: DatabaseError.self) { try await store.write { try $0.execute(sql: "INSERT INTO things (name) VALUES ('a')") } }
        #expect(!store.isInMemory && store.trouble == nil)
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `A7: of a table with a damaged page the rows on both sides of it are taken over`() async throws {
        do {
            let store = try self.store()
            for number in 0..<60 { try await add(String(repeating: "n", count: 900) + "\(number)", to: store) }
        }
        let log = file + "-wal"
        try await until("it is closed") { !FileManager.default.fileExists(atPath: log) }
        var bytes = Array(try Data(contentsOf: URL(filePath: file)))
        let pages = stride(from: 0, to: bytes.count, by: 4_096).map { $0..<$0 + 4_096 }
        // One with rows of a table, which begins with 13, and not one of its index.
        let hit = pages.first { bytes[$0.lowerBound] == 13 && bytes[$0].firstRange(of: "n30".utf8) != nil }
        let page = try #require(hit)
        for index in page { bytes[index] = 0xA5 }
        try Data(bytes).write(to: URL(filePath: file))
        let found = try await names(in: self.store())
        #expect((50..<60).contains(found.count))
        #expect(found.first?.hasSuffix("n0") == true && found.last?.hasSuffix("n59") == true)
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `A7: what is set aside takes nobody's place, and its log goes with it`() throws {
        let file = LocalFile(path: self.file, migrator: Self.migrator)
        var names: [String] = []
        // Twice at one moment, as after a clock was set back.
        for text in ["first", "second"] {
            for part in ["", "-wal"] { try Data((text + part).utf8).write(to: URL(filePath: file.path + part)) }
            names.append(try file.setAside(at: time.wallNow()))
            #expect(!FileManager.default.fileExists(atPath: file.path + "-wal"))
        }
        for (name, text) in zip(names, ["first", "second"]) {
            for part in ["", "-wal"] { #expect(try Data(contentsOf: URL(filePath: name + part)) == Data((text + part).utf8)) }
        }
        try FileManager.default.removeItem(atPath: folder)
    }
}
