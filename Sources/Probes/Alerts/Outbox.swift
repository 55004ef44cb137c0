import FoundationEssentials
import GRDB
public import Vitals

/// What is still to be told, and to whom: stored before anything is sent, so that `kill -9` at any moment loses nothing.
///
/// An alert's new state and its notice are one transaction. What is owed is `OutboxPolicy`'s to say; here it is asked and obeyed.
public struct Outbox: Sendable {
    let store: LocalStore
    let policy: OutboxPolicy

    public init(store: LocalStore) {
        self.init(store: store, policy: OutboxPolicy())
    }

    init(store: LocalStore, policy: OutboxPolicy) {
        self.store = store
        self.policy = policy
    }

    /// The alerts that were open, and the rows that this version cannot read: those stay where they are, for the version that wrote them.
    func openAlerts() async throws -> (readable: [AlertRecord], unreadable: [String]) {
        let rows = try await store.read { database in
            try Row.fetchAll(database, sql: "SELECT fingerprint, record FROM alert_states ORDER BY rowid").map { row in
                StoredAlert(fingerprint: row["fingerprint"], text: row["record"])
            }
        }
        var readable: [AlertRecord] = []
        var unreadable: [String] = []
        for row in rows {
            if let record = try? JSONDecoder().decode(AlertRecord.self, from: Data(row.text.utf8)) {
                readable.append(record)
            } else {
                unreadable.append(row.fingerprint)
            }
        }
        return (readable, unreadable)
    }

    private struct StoredAlert: Sendable {
        var fingerprint: String
        var text: String
    }

    /// Stores the alert's state, and the notice with a delivery for each recipient, in one transaction.
    ///
    /// - Returns: how many deliveries were dropped to stay within the bound.
    @discardableResult
    func commit(_ record: AlertRecord, notice: Notice?, to recipients: [Recipient]) async throws -> Int {
        let recordText = try Self.text(record)
        let noticeText = try notice.map { try Self.text($0) }
        return try await store.write { database in
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
            var dropped = 0
            for recipient in recipients {
                try Self.queue(sequence, notice.fingerprint, notice.episode, for: recipient, at: notice.at, in: database)
                dropped += try releaseNoLongerOwed(recipient.address, notice.fingerprint, at: notice.at, in: database)
            }
            return dropped
        }
    }

    static func queue(
        _ sequence: Int64, _ fingerprint: String, _ episode: String, for recipient: Recipient, at wall: WallTime, in database: Database
    ) throws {
        try database.execute(
            sql: """
                INSERT OR REPLACE INTO alert_deliveries (notice, address, receiver, fingerprint, episode, state, updated)
                VALUES (?, ?, ?, ?, ?, 'queued', ?)
                """,
            arguments: [sequence, recipient.address, recipient.name, fingerprint, episode, wall.microsecondsSince1970])
    }

    /// Takes back what is not owed any more of one alert to one recipient.
    ///
    /// - Returns: how many to stay within the bound.
    @discardableResult
    func releaseNoLongerOwed(_ address: String, _ fingerprint: String, at wall: WallTime, in database: Database) throws -> Int {
        let line = try Row.fetchAll(
            database,
            sql: """
                SELECT d.notice AS sequence, d.episode AS episode, n.status AS status, d.state AS state, d.refused AS refused
                FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                WHERE d.address = :address AND d.fingerprint = :fingerprint AND d.episode IN (
                    SELECT episode FROM alert_deliveries WHERE address = :address AND fingerprint = :fingerprint AND state = 'queued')
                ORDER BY d.notice
                """, arguments: ["address": address, "fingerprint": fingerprint]
        ).compactMap(Owed.init)
        let releases = policy.releases(of: line)
        for (sequence, why) in releases {
            try database.execute(
                sql: "UPDATE alert_deliveries SET state = 'superseded', answer = ?, updated = ? WHERE notice = ? AND address = ?",
                arguments: [why.rawValue, wall.microsecondsSince1970, sequence, address])
        }
        return releases.values.count { $0 == .tooMany }
    }

    static func text(_ value: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }
}

extension Owed {
    /// Nil for a status or a state of another version.
    fileprivate init?(_ row: Row) {
        guard let status = Notice.Status(rawValue: row["status"]), let state = State(rawValue: row["state"]) else { return nil }
        self.init(sequence: row["sequence"], episode: row["episode"], status: status, state: state, wasRefused: row["refused"])
    }
}
