import FoundationEssentials
public import GRDB
public import Vitals

/// What is still to be told, and to whom: durable before anything is sent, so that `kill -9` at any moment loses nothing.
///
/// Three tables of the local store: open alerts, notices, and a delivery per notice and receiver. An alert's new state and its
/// notice are one transaction, flushed to disk when `commit` returns.
public struct Outbox: Sendable {
    let store: LocalStore

    /// Undelivered notices kept per alert and receiver; beyond it complete firing-to-resolved stretches are dropped, but for the first.
    static let depth = 16
    /// Delivered and dropped rows are kept this long, for `/api/alerts` and for those who ask what was sent.
    static let retention = Duration.seconds(7 * 86_400)

    public init(store: LocalStore) {
        self.store = store
    }

    /// Opens or creates the file with the outbox's tables alone; the daemon, which keeps other tables too, uses `registerMigrations`.
    public static func open(path: String) throws -> Outbox {
        var migrator = DatabaseMigrator()
        registerMigrations(in: &migrator)
        return Outbox(store: try LocalStore(path: path, migrator: migrator))
    }

    public static func registerMigrations(in migrator: inout DatabaseMigrator) {
        migrator.registerMigration("alerts-1") { database in
            try database.execute(
                sql: """
                    CREATE TABLE alert_states (
                        fingerprint TEXT PRIMARY KEY,
                        episode TEXT NOT NULL,
                        record TEXT NOT NULL
                    ) STRICT;
                    CREATE TABLE alert_notices (
                        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                        id TEXT NOT NULL UNIQUE,
                        fingerprint TEXT NOT NULL,
                        episode TEXT NOT NULL,
                        status TEXT NOT NULL,
                        notice TEXT NOT NULL,
                        created INTEGER NOT NULL
                    ) STRICT;
                    CREATE TABLE alert_deliveries (
                        notice INTEGER NOT NULL REFERENCES alert_notices(sequence) ON DELETE CASCADE,
                        receiver TEXT NOT NULL,
                        fingerprint TEXT NOT NULL,
                        episode TEXT NOT NULL,
                        state TEXT NOT NULL CHECK (state IN ('queued', 'delivered', 'dead', 'superseded')),
                        attempts INTEGER NOT NULL DEFAULT 0,
                        answer TEXT,
                        updated INTEGER NOT NULL,
                        PRIMARY KEY (notice, receiver)
                    ) STRICT;
                    CREATE INDEX alert_deliveries_queue ON alert_deliveries (receiver, fingerprint, notice) WHERE state = 'queued';
                    CREATE INDEX alert_deliveries_episode ON alert_deliveries (episode, receiver);
                    """)
        }
    }

    func openAlerts() async throws -> [AlertRecord] {
        let texts = try await store.writer.read { try String.fetchAll($0, sql: "SELECT record FROM alert_states ORDER BY rowid") }
        return try texts.map { try JSONDecoder().decode(AlertRecord.self, from: Data($0.utf8)) }
    }

    /// Stores the alert's state, and the notice with a delivery for each receiver, in one transaction.
    ///
    /// A resolved goes only to receivers that were told, or are about to be told, of its firing.
    /// - Returns: how many deliveries were superseded to stay within the bound.
    @discardableResult
    func commit(_ record: AlertRecord, notice: Notice?, to receivers: [String]) async throws -> Int {
        let recordText = try Self.text(record)
        let noticeText = try notice.map { try Self.text($0) }
        return try await store.writer.write { database in
            if record.state.isOpen {
                try database.execute(
                    sql: "INSERT OR REPLACE INTO alert_states (fingerprint, episode, record) VALUES (?, ?, ?)",
                    arguments: [record.fingerprint, record.episode, recordText])
            } else {
                try database.execute(sql: "DELETE FROM alert_states WHERE fingerprint = ?", arguments: [record.fingerprint])
            }
            guard let notice, let noticeText else { return 0 }
            try database.execute(
                sql: "INSERT INTO alert_notices (id, fingerprint, episode, status, notice, created) VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [
                    notice.id, notice.fingerprint, notice.episode, notice.status.rawValue, noticeText,
                    notice.at.microsecondsSince1970,
                ])
            let sequence = database.lastInsertedRowID
            var superseded = 0
            for receiver in receivers {
                if notice.status == .resolved, try !Self.wasTold(receiver, of: notice.episode, in: database) { continue }
                try database.execute(
                    sql: """
                        INSERT INTO alert_deliveries (notice, receiver, fingerprint, episode, state, updated)
                        VALUES (?, ?, ?, ?, 'queued', ?)
                        """,
                    arguments: [sequence, receiver, notice.fingerprint, notice.episode, notice.at.microsecondsSince1970])
                superseded += try Self.trim(receiver, notice.fingerprint, at: notice.at, in: database)
            }
            return superseded
        }
    }

    private static func wasTold(_ receiver: String, of episode: String, in database: Database) throws -> Bool {
        try Bool.fetchOne(
            database,
            sql: """
                SELECT EXISTS (
                    SELECT 1 FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                    WHERE d.episode = ? AND d.receiver = ? AND n.status = 'firing' AND d.state IN ('queued', 'delivered'))
                """, arguments: [episode, receiver]) ?? false
    }

    /// Drops whole stretches, each from its firing to its resolved, the oldest first. The very first stays: the receiver may have its firing,
    /// or be about to take it, and waits for its end.
    private static func trim(_ receiver: String, _ fingerprint: String, at wall: WallTime, in database: Database) throws -> Int {
        let queued = try Row.fetchAll(
            database,
            sql: """
                SELECT d.notice AS sequence, d.episode AS episode, n.status AS status
                FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                WHERE d.receiver = ? AND d.fingerprint = ? AND d.state = 'queued' ORDER BY d.notice
                """, arguments: [receiver, fingerprint])
        guard queued.count > depth else { return 0 }
        let first: String = queued[0]["episode"]
        let begun = queued.prefix { ($0["episode"] as String) == first }
        guard let cut = queued.dropFirst(begun.count).dropLast(2).lastIndex(where: { ($0["status"] as String) == "resolved" }) else { return 0 }
        let before: Int64 = begun.last?["sequence"] ?? 0
        let last: Int64 = queued[cut]["sequence"]
        try database.execute(
            sql: """
                UPDATE alert_deliveries SET state = 'superseded', updated = ?, answer = 'more than \(depth) undelivered notices'
                WHERE receiver = ? AND fingerprint = ? AND state = 'queued' AND notice > ? AND notice <= ?
                """, arguments: [wall.microsecondsSince1970, receiver, fingerprint, before, last])
        return database.changesCount
    }

    static func text(_ value: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }
}
