import Dispatch
import FoundationEssentials
import GRDB
import Glibc
import TestServers
import Testing

@testable import Vitals

/// What a store promises while its file is damaged, locked, full, read-only, emptied, gone, silent, or not ours.
@Suite struct `A local store` {
    let folder: String
    let time = ManualTime()
    let lines = LogLines()

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "healthd-store-\(UUID().uuidString)").path()
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

    /// The patience is for a busy machine.
    private func store(
        patience: Duration = .seconds(60), damageIsNews: Duration = LocalStore.damageIsNews, prepare: @escaping @Sendable () throws -> Void = {}
    ) throws -> LocalStore {
        try LocalStore(
            path: file, migrator: Self.migrator, patience: patience, damageIsNews: damageIsNews, time: time, logger: lines.logger, prepare: prepare)
    }

    /// For limits of its connection alone: another finds the disk well again.
    private func inFile(_ statement: String, of store: LocalStore) async throws {
        let connection = try #require(store.connection)
        try await connection.write { try $0.execute(sql: statement) }
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
        let connection = try #require(store.connection)
        #expect(try await connection.read { try Int.fetchOne($0, sql: "PRAGMA synchronous") } == 2)
        #expect(try await connection.read { try String.fetchOne($0, sql: "PRAGMA journal_mode") } == "truncate")
        #expect(store.trouble == nil && !store.isInMemory)
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `maps no part of the file into memory, where a disk that fails or a file that shrinks would end the process`() async throws {
        let store = try self.store()
        try await add("a", to: store)
        let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
        #expect(maps.contains("r-xp") && !maps.contains(folder))
        #expect(try await names(in: store) == ["a"])
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `takes over what an older healthd wrote, with a write-ahead log, and what is still in that log`() async throws {
        let old = try DatabaseQueue(path: file)
        try await old.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0") }
        try Self.migrator.migrate(old)
        try await old.write { try $0.execute(sql: "INSERT INTO things (name) VALUES ('a'); INSERT INTO parts VALUES (1, 'p')") }
        // As after kill -9: the log is there, and nobody has the file open.
        for part in ["", "-wal"] { try FileManager.default.copyItem(atPath: file + part, toPath: folder + "/copy" + part) }
        try old.close()
        for part in ["", "-wal"] {
            try? FileManager.default.removeItem(atPath: file + part)
            try FileManager.default.moveItem(atPath: folder + "/copy" + part, toPath: file + part)
        }
        let store = try self.store()
        try await add("b", to: store)
        #expect(!store.isInMemory && store.trouble == nil, "\(store.trouble ?? "")")
        #expect(try await names(in: store) == ["a", "b"])
        #expect(try await names(in: self.store()) == ["a", "b"])
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `gives a row the same number in memory and in the file, before the file was away and after`() async throws {
        let store = try self.store()
        for name in ["before", "after"] {
            try await add(name, to: store)
            let number = try await store.read { try Int64.fetchOne($0, sql: "SELECT max(number) FROM things") }
            try await store.write { try $0.execute(sql: "UPDATE things SET name = name || ', changed' WHERE number = ?", arguments: [number]) }
            let connection = try #require(store.connection)
            let inFile = try await connection.read { try String.fetchOne($0, sql: "SELECT name FROM things WHERE number = ?", arguments: [number]) }
            #expect(inFile == "\(name), changed")
            try FileManager.default.removeItem(atPath: file)
            for _ in 0..<2 { await store.tend() }
        }
        #expect(try await names(in: self.store()) == ["before, changed", "after, changed"])
        try FileManager.default.removeItem(atPath: folder)
    }

    enum Fault: String, CaseIterable, Sendable {
        case full, readOnly, locked, gone, replaced, folderGone, emptied, emptiedUnseen, overwritten
    }

    @Test(arguments: Fault.allCases)
    func `A7: goes on in memory with all it had, and returns to the file with all that came`(_ fault: Fault) async throws {
        let folder = self.folder
        let store = try self.store { mkdir(folder, 0o755) }
        try await add("a", "b", to: store)
        try await store.write { try $0.execute(sql: "DELETE FROM things WHERE name = 'a'") }
        var other: DatabaseQueue?
        switch fault {
        case .full: try await inFile("PRAGMA max_page_count = 1", of: store)
        case .readOnly: try await inFile("PRAGMA query_only = 1", of: store)
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
        case .emptied, .emptiedUnseen: truncate(file, 0)
        case .overwritten: try Self.overwrite(file)
        }
        if [.gone, .replaced, .folderGone, .emptied].contains(fault) { await store.tend() }
        try await store.write { try $0.execute(sql: "INSERT INTO things (name) VALUES (?)", arguments: [String(repeating: "c", count: 100_000)]) }
        try await add("d", to: store)
        #expect(store.isInMemory)
        #expect(store.trouble?.hasPrefix(file) == true, "\(store.trouble ?? "")")
        #expect(try await names(in: store) == ["b", "d"])
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
        let count = try await names(in: store).count
        #expect(salvaged.contains(count))
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
        #expect(try setAside.count { !$0.hasSuffix("-journal") } == 1)
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
        let queue = try file.open().connection
        try queue.write { try $0.execute(sql: "INSERT INTO things (name) VALUES ('a')") }
        try queue.close()
        // What stands in the log's place is none: only who asks for no log can open the file.
        try FileManager.default.createDirectory(atPath: file.path + "-wal", withIntermediateDirectories: false)
        let found = try file.salvaged()
        #expect(found.isReadable)
        #expect(try found.rows.read { try String.fetchAll($0, sql: "SELECT name FROM things") } == ["a"])
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
            for part in ["", "-journal", "-wal"] { try Data((text + part).utf8).write(to: URL(filePath: file.path + part)) }
            names.append(try file.setAside(at: time.wallNow()))
            #expect(!FileManager.default.fileExists(atPath: file.path + "-journal") && !FileManager.default.fileExists(atPath: file.path + "-wal"))
        }
        for (name, text) in zip(names, ["first", "second"]) {
            for part in ["", "-journal", "-wal"] { #expect(try Data(contentsOf: URL(filePath: name + part)) == Data((text + part).utf8)) }
        }
        try FileManager.default.removeItem(atPath: folder)
    }

    // MARK: A disk that does not answer

    private final class Frost: Sendable {
        private let gate = DispatchSemaphore(value: 0)

        func thaw() { gate.signal() }

        func wait() {
            gate.wait()
            gate.signal()
        }
    }

    @Test func `A: a file that does not answer is left after the patience, and taken up again with all that came when it does`() async throws {
        let store = try self.store(patience: .milliseconds(500))
        try await add("a", to: store)
        let frost = Frost()
        store.fileThread.later { frost.wait() }
        try await add("b", to: store)
        #expect(store.isInMemory)
        #expect(store.trouble == "\(file): its disk has not answered for 500 ms or longer; is it frozen, or its file server away?")
        for _ in 0..<3 { await store.tend() }
        try await add("c", to: store)
        #expect(store.isInMemory)
        #expect(try await names(in: store) == ["a", "b", "c"])
        frost.thaw()
        try await until("the file is in use again") {
            await store.tend()
            return !store.isInMemory
        }
        #expect(store.trouble == nil)
        #expect(try await names(in: store) == ["a", "b", "c"])
        #expect(try await names(in: self.store()) == ["a", "b", "c"])
        #expect(lines.all.count { $0.hasPrefix("critical") } == 1)
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `A: a file that does not answer at the start keeps nobody from starting, and what it has comes to light when it does`() async throws {
        try await add("a", to: self.store())
        let frost = Frost()
        let store = try self.store(patience: .milliseconds(500)) { frost.wait() }
        #expect(store.isInMemory && store.trouble?.contains("its disk has not answered for 500 ms or longer") == true)
        try await add("b", to: store)
        #expect(try await names(in: store) == ["b"])
        let before = store.rowsRevision
        frost.thaw()
        try await until("the file is in use") {
            await store.tend()
            return !store.isInMemory
        }
        #expect(store.rowsRevision > before)
        #expect(try await names(in: store) == ["a", "b"])
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test func `E: a damaged file is told of for as long as whoever judges it takes to look`() throws {
        try Data(repeating: 7, count: 9_000).write(to: URL(filePath: file))
        let store = try self.store(damageIsNews: .seconds(180))
        time.advance(by: .seconds(179))
        #expect(store.trouble?.contains("was set aside as") == true)
        time.advance(by: .seconds(1))
        #expect(store.trouble == nil)
        try FileManager.default.removeItem(atPath: folder)
    }
}
