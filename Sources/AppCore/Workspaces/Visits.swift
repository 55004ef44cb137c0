import Logging
import Synchronization
import Vitals

/// Which workspaces were looked at, written apart from the look: a read waits for no write, and no write can make it fail.
///
/// Noted in memory and written by `run`, all of a second in one statement. What cannot be written is let go: the next visitor counts as well.
/// A workspace that somebody visited within the last minute is not written again; the statement sees to it, for all processes.
final class Visits: Sendable {
    /// Workspaces noted between two statements; a visit to one more goes unnoted.
    static let limit = 4_096
    /// Between two statements, and after one that failed: a server that takes no writes is not asked all the time.
    static let interval = Duration.seconds(1), rest = Duration.seconds(30)

    private let database: Database
    private let time: any TimeSource
    private let logger: Logger
    private let unwritten = Mutex<Set<Workspace.ID>>([])

    init(database: Database, time: any TimeSource, logger: Logger) {
        self.database = database
        self.time = time
        self.logger = logger
    }

    func note(_ id: Workspace.ID) {
        unwritten.withLock { unwritten in
            if unwritten.count < Self.limit { unwritten.insert(id) }
        }
    }

    /// Until cancelled.
    func run() async {
        await Work.$workClass.withValue(.background) {
            var pause = Self.interval
            while (try? await time.sleep(for: pause)) != nil {
                pause = await write() ? Self.interval : Self.rest
            }
        }
    }

    /// - Returns: whether all is written.
    func write() async -> Bool {
        let ids = unwritten.withLock { unwritten in
            defer { unwritten = [] }
            return unwritten.sorted()
        }
        guard !ids.isEmpty else { return true }
        do {
            // Never waiting for a row: whoever has it changes it, and that is a visit, too.
            try await database.execute(
                """
                UPDATE workflows SET last_accessed_at = now() WHERE id IN (
                    SELECT id FROM workflows WHERE id = ANY(\(ids)::bigint[]) AND last_accessed_at < now() - interval '1 minute'
                    FOR UPDATE SKIP LOCKED)
                """, for: "workspace.visits", within: .seconds(1))
            return true
        } catch {
            logger.debug("visits could not be written", metadata: ["workspaces": "\(ids.count)", "reason": "\(error)"])
            return false
        }
    }
}
