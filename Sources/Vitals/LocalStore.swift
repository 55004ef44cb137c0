import Dispatch
public import GRDB
public import Logging
import Synchronization

/// The daemon's own durable state: one SQLite file in the state folder. It works when PostgreSQL is what failed.
///
/// All of it is in memory as well. Memory is what is read, and what is written first; then the file gets the same. So nothing is lost, whatever
/// becomes of the file while the process runs: no room, no right to write, damaged, emptied, gone, on a disk that is frozen. Memory goes on alone,
/// `trouble` says why, and `tend` goes back to the file as soon as it can be used. What came meanwhile is lost only if the process ends first.
/// One access at a time, each on a thread that may block. The file has a thread of its own, which may hang.
public final class LocalStore: Sendable {
    private struct State {
        /// Nil while the memory goes on alone.
        var file: LocalFile.Opened?
        /// Whether the memory has what the file holds, as far as that could be read.
        var knowsFile = false
        /// Whether the memory has what the file may lack.
        var isAhead = false
        var trouble: String?
        var damage: (text: String, at: MonotonicInstant)?
        var rowsRevision = 0
    }

    /// What `prepare` throws when another process has the file: its rows are that one's, and stay unread.
    public struct InUse: Error, CustomStringConvertible {
        public var description: String

        public init(_ description: String) { self.description = description }
    }

    /// For how long `trouble` still tells of a damaged file after a new one has taken its place. Later only the log tells of it.
    public static let damageIsNews = Duration.seconds(15)
    /// The least time between two files that are set aside. A medium that damages whatever is written to it must not be filled with them.
    static let fewestBetweenDamages = Duration.seconds(600)

    private let state = Mutex(State())
    private let memory: DatabaseQueue
    private let file: LocalFile
    private let prepare: @Sendable () throws -> Void
    private let damageIsNews: Duration
    private let time: any TimeSource
    private let logger: Logger
    private let thread = DispatchQueue(label: "local store")
    let fileThread: PatientThread

    /// Opens or creates the file and applies what `migrator` still lacks; where that cannot be done, the memory goes on alone.
    ///
    /// - Parameters:
    ///   - damageIsNews: long enough for whoever judges `trouble` to have looked at it.
    ///   - prepare: what must be done before the file may be used, such as making its folder; called before each opening, and each time it is
    ///     tried whether the file can still be written to.
    /// - Throws: only when `migrator` itself is wrong.
    public init(
        path: String, migrator: DatabaseMigrator, patience: Duration = PatientThread.patience, damageIsNews: Duration = LocalStore.damageIsNews,
        time: any TimeSource = SystemTime(), logger: Logger = Logger(label: "local store"), prepare: @escaping @Sendable () throws -> Void = {}
    ) throws {
        file = LocalFile(path: path, migrator: migrator)
        memory = try file.memory()
        fileThread = PatientThread("local store file", patience: patience)
        self.damageIsNews = damageIsNews
        self.prepare = prepare
        self.time = time
        self.logger = logger
        goToFile()
    }

    public func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await onThread { try self.memory.read(body) }
    }

    /// One transaction, on the disk when this returns, unless there is `trouble`.
    ///
    /// - Parameter body: runs twice, in memory and in the file: it must do the same both times.
    public func write<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await onThread {
            let value = try self.memory.write(body)
            self.repeatInFile(body)
            return value
        }
    }

    /// Why the file is not in use, and what to do; also that it was damaged, for a while after a new one has taken its place. Nil when all is well.
    public var trouble: String? {
        let now = time.now()
        return state.withLock { state in
            state.trouble ?? state.damage.flatMap { now - $0.at < damageIsNews ? $0.text : nil }
        }
    }

    /// Whether what is written now would be lost with the process.
    public var isInMemory: Bool { state.withLock { $0.file == nil } }

    /// Counts up when rows have come or gone otherwise than by a write here: they were read from the file, at the start or when it could be read
    /// again, or another process has taken them over.
    public var rowsRevision: Int { state.withLock { $0.rowsRevision } }

    /// Tries whether the file can be written to, or can be again. To be called every now and then, by one task.
    public func tend() async {
        try? await onThread { self.isInMemory ? self.goToFile() : self.tryFile() }
    }

    private func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            thread.async { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Nil while the memory goes on alone.
    var connection: DatabaseQueue? { state.withLock { $0.file?.connection } }
}

// What follows runs on the store's thread, or in `init`. What it has the file's thread do touches the file alone, never `memory`: it may hang.
extension LocalStore {
    /// The memory has the write already, so an error is the file's fault, whatever it is.
    private func repeatInFile<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) {
        guard let connection else { return state.withLock { $0.isAhead = true } }
        do {
            _ = try fileThread.run { try connection.write(body) }
        } catch {
            leaveFile(because: error)
        }
    }

    private func tryFile() {
        guard let opened = state.withLock({ $0.file }) else { return }
        do {
            try fileThread.run { [file, prepare] in
                try prepare()
                try file.tryWriting(to: opened)
            }
        } catch let error as InUse {
            // Whoever took the folder sends what is in its file. If that is another file than ours, nobody else has our rows.
            let identity = try? fileThread.run { [file] in file.identity }
            if identity == opened.identity { try? RowCopy.removeAll(of: memory) }
            leaveFile(because: error)
            // Its rows are still to come, and must not be replaced by ours.
            state.withLock { state in
                state.knowsFile = false
                state.rowsRevision += 1
            }
        } catch {
            leaveFile(because: error)
        }
    }

    private func leaveFile(because error: any Error) {
        let words = file.words(for: error)
        let left = state.withLock { state in
            defer { state.file = nil }
            state.knowsFile = true
            state.isAhead = true
            state.trouble = words
            return state.file
        }
        if let left { close(left) }
        tell(words)
    }

    private func close(_ opened: LocalFile.Opened) {
        fileThread.later { try? opened.connection.close() }
    }

    private func goToFile() {
        let before = state.withLock { $0.trouble }
        do {
            let opened = try openedFile()
            do {
                try bringTogether(opened)
            } catch {
                close(opened)
                throw error
            }
            state.withLock { state in
                state.file = opened
                state.isAhead = false
                state.trouble = nil
            }
            if before != nil { logger.notice("the local state is written to disk again", metadata: ["file": "\(file.path)"]) }
        } catch {
            // Whoever has the folder writes there: its rows are still to come, and must not be replaced by ours.
            if error is InUse { state.withLock { ($0.knowsFile, $0.isAhead) = (false, true) } }
            let words = file.words(for: error)
            // A file that cannot be written to may be readable all the same. What another process has, it sends itself.
            let isNew = state.withLock { !$0.knowsFile && !$0.isAhead }
            if isNew, !LocalFile.isInUse(error), let found = try? fileThread.run({ [file] in try file.salvaged() }), found.isReadable {
                try? takeOver(found.rows)
            }
            state.withLock { $0.trouble = words }
            if before == nil { tell(words) }
        }
    }

    /// The file, ready for use; a damaged one is set aside, what can be read of it goes to memory, and a new one takes its place.
    private func openedFile() throws -> LocalFile.Opened {
        let open: @Sendable () throws -> LocalFile.Opened = { [file, prepare] in
            try prepare()
            return try file.open()
        }
        do {
            return try fileThread.run(open)
        } catch where LocalFile.isDamaged(error) {
            let now = time.now()
            let last = state.withLock { $0.damage?.at }
            if let last, now - last < Self.fewestBetweenDamages { throw error }
            let wall = time.wallNow()
            // Its rows are read first: if the file is set aside only after we have stopped waiting, nobody reads it any more.
            if !state.withLock({ $0.knowsFile }) { try takeOver(try fileThread.run { [file] in try file.salvaged() }.rows) }
            let name = try fileThread.run { [file] in try file.setAside(at: wall) }
            let words = file.words(for: error)
            state.withLock { state in
                // The new file has none of the rows.
                state.isAhead = true
                state.damage = ("\(words); the file was set aside as \(name)", now)
            }
            logger.error(
                "the local state could not be used and was set aside, a new one begins with what could be read of it",
                metadata: ["file": "\(name)", "reason": "\(words)"])
            return try fileThread.run(open)
        }
    }

    /// Afterwards the memory and the file have the same rows, and give the same numbers to new ones.
    private func bringTogether(_ opened: LocalFile.Opened) throws {
        let (isAhead, knowsFile) = state.withLock { ($0.isAhead, $0.knowsFile) }
        if !knowsFile { try takeOver(try fileThread.run { [file] in try file.rows(of: opened) }) }
        let numbers = try RowCopy.numbers(in: memory)
        let rows = isAhead || knowsFile ? try file.memory() : nil
        if let rows { try RowCopy.copyWhole(from: memory, into: rows) }
        try fileThread.run {
            if let rows { try RowCopy.replaceAll(in: opened.connection, by: rows) }
            try RowCopy.setNumbers(numbers, in: opened.connection)
        }
    }

    private func takeOver(_ rows: DatabaseQueue) throws {
        try RowCopy.copy(from: rows, into: memory)
        state.withLock { state in
            state.knowsFile = true
            state.rowsRevision += 1
        }
    }

    private func tell(_ words: String) {
        logger.critical(
            "the local state cannot be written to disk: alerts go on in memory, and what is there alone is lost when healthd ends",
            metadata: ["reason": "\(words)"])
    }
}
