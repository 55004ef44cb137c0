import Dispatch
public import GRDB
public import Logging
import Synchronization

/// The daemon's own durable state: one SQLite file in the state folder. It works when PostgreSQL is what failed.
///
/// While the file cannot be used (no room, no right to write, damaged, gone), a copy in memory takes its place: whoever reads and writes
/// does not notice, `trouble` says why, and `tend` goes back to the file as soon as it can be had. What is in memory alone is lost when the
/// process ends. One access at a time, each on a thread that may block.
public final class LocalStore: Sendable {
    private struct State {
        var queue: DatabaseQueue
        /// Nil while the memory is in use.
        var file: LocalFile.Identity?
        /// Whether the memory began with what the file held, as far as that could be read.
        var knowsFile = false
        /// Whether anything was written to memory.
        var isTouched = false
        var trouble: String?
        var damage: (text: String, at: MonotonicInstant)?
        var rowsRevision = 0
    }

    /// What `prepare` throws when another process has the file: its rows are that one's, and stay unread.
    public struct InUse: Error, CustomStringConvertible {
        public var description: String

        public init(_ description: String) { self.description = description }
    }

    /// How long `trouble` tells of a damaged file after another has taken its place: whoever asks every ten seconds sees it. For others there is the log.
    static let damageIsNews = Duration.seconds(15)
    /// The least time between two files that are set aside: a medium that damages whatever is written to it must not be filled with them.
    static let fewestBetweenDamages = Duration.seconds(600)

    private let state: Mutex<State>
    private let file: LocalFile
    private let prepare: @Sendable () throws -> Void
    private let time: any TimeSource
    private let logger: Logger
    private let thread = DispatchQueue(label: "local store")

    /// Opens or creates the file and applies what `migrator` still lacks; where that cannot be done, the memory takes its place.
    ///
    /// - Parameters:
    ///   - prepare: what must be done before the file may be used, such as making its folder; asked before each opening, and with each
    ///     look whether the file can still be written to.
    /// - Throws: only when `migrator` itself is wrong.
    public init(
        path: String, migrator: DatabaseMigrator, time: any TimeSource = SystemTime(), logger: Logger = Logger(label: "local store"),
        prepare: @escaping @Sendable () throws -> Void = {}
    ) throws {
        file = LocalFile(path: path, migrator: migrator)
        self.prepare = prepare
        self.time = time
        self.logger = logger
        state = Mutex(State(queue: try file.memory()))
        goToFile()
    }

    public func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await onThread { try self.access { try $0.read(body) } }
    }

    /// One transaction, on the disk when this returns, unless there is `trouble`. After an error of the disk `body` is run again on the memory.
    public func write<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await onThread {
            let value = try self.access { try $0.write(body) }
            self.state.withLock { if $0.file == nil { $0.isTouched = true } }
            return value
        }
    }

    /// Why the file is not in use, with what to do; also that it was damaged, for a while after another has taken its place. Nil when all is well.
    public var trouble: String? {
        let now = time.now()
        return state.withLock { state in
            state.trouble ?? state.damage.flatMap { now - $0.at < Self.damageIsNews ? $0.text : nil }
        }
    }

    /// Whether what is written now would be lost with the process.
    public var isInMemory: Bool { state.withLock { $0.file == nil } }

    /// Counts up when the rows may be others than those written here: some came to light, with a file that could not be read before, or some
    /// were lost, with one that cannot be read any more. And when a file is had again: what is not in it then is lost for good.
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
}

// What follows runs on the store's thread, or in `init`.
extension LocalStore {
    private func access<Value>(_ body: (DatabaseQueue) throws -> Value) throws -> Value {
        let (queue, isInMemory) = state.withLock { ($0.queue, $0.file == nil) }
        do {
            return try body(queue)
        } catch let error as DatabaseError where !isInMemory && LocalFile.isAtFault(error) {
            let memory = try file.memory()
            // Of a damaged file that is what can still be read.
            let isRead = (try? RowCopy.copy(from: queue, into: memory)) ?? false
            // What fails there as well is a wrong statement of ours, and no fault of the file.
            let value = try body(memory)
            leaveFile(queue, for: memory, knowsFile: isRead, because: error)
            return value
        }
    }

    private func tryFile() {
        let (queue, identity) = state.withLock { ($0.queue, $0.file) }
        do {
            try prepare()
            guard file.identity == identity else { throw LocalFile.Unusable("the file is gone, or another has its place") }
            try file.tryWriting(to: queue)
        } catch {
            guard let memory = try? file.memory() else { return }
            // Whoever took the folder from us sends what is in its file. If that is another file than ours, nobody has our rows.
            let isTaken = error is InUse
            let isRead = (!isTaken || file.identity != identity) && (try? RowCopy.copy(from: queue, into: memory)) == true
            // Its rows are still to come, and must not be replaced by ours.
            leaveFile(queue, for: memory, knowsFile: isRead && !isTaken, because: error)
        }
    }

    private func leaveFile(_ queue: DatabaseQueue, for memory: DatabaseQueue, knowsFile: Bool, because error: any Error) {
        let words = file.words(for: error)
        state.withLock { state in
            state.queue = memory
            state.file = nil
            state.knowsFile = knowsFile
            state.isTouched = true
            state.trouble = words
            state.rowsRevision += 1
        }
        try? queue.close()
        tell(words)
    }

    private func goToFile() {
        let (memory, before) = state.withLock { ($0.queue, $0.trouble) }
        do {
            try prepare()
            let queue = try openedFile(memory)
            let (isTouched, knowsFile) = state.withLock { ($0.isTouched, $0.knowsFile) }
            if isTouched, !knowsFile {
                try RowCopy.copy(from: queue, into: memory)
                rowsCameToLight()
            }
            if isTouched || knowsFile { try RowCopy.replaceAll(in: queue, by: memory) }
            let identity = file.identity
            state.withLock { state in
                state.queue = queue
                state.file = identity
                state.isTouched = false
                state.knowsFile = false
                state.trouble = nil
                if before != nil { state.rowsRevision += 1 }
            }
            if before != nil { logger.notice("the local state is written to disk again", metadata: ["file": "\(file.path)"]) }
        } catch {
            let words = file.words(for: error)
            // A file that cannot be written to may be readable all the same. What another process has, it sends itself.
            let isNew = state.withLock { !$0.knowsFile && !$0.isTouched }
            if isNew, !LocalFile.isInUse(error), file.salvage(into: memory) { rowsCameToLight() }
            state.withLock { $0.trouble = words }
            if before == nil { tell(words) }
        }
    }

    /// The file, ready for use; a damaged one is set aside, what can be read of it goes to memory, and a new one takes its place.
    private func openedFile(_ memory: DatabaseQueue) throws -> DatabaseQueue {
        do {
            return try file.open()
        } catch where LocalFile.isDamaged(error) {
            let now = time.now()
            let (knowsFile, last) = state.withLock { ($0.knowsFile, $0.damage?.at) }
            if let last, now - last < Self.fewestBetweenDamages { throw error }
            if !knowsFile { _ = file.salvage(into: memory) }
            let name = try file.setAside(at: time.wallNow())
            rowsCameToLight()
            let text = "\(file.words(for: error)); the file was set aside as \(name)"
            state.withLock { $0.damage = (text, now) }
            logger.error(
                "the local state could not be used and was set aside, a new one begins with what could be read of it",
                metadata: ["file": "\(name)", "reason": "\(file.words(for: error))"])
            return try file.open()
        }
    }

    /// The memory has what there was to be had of the file.
    private func rowsCameToLight() {
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
