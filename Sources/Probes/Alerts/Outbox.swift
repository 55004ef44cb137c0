import FoundationEssentials
import GRDB
import Logging
public import Vitals

/// Which notices are still owed, and to whom: stored before anything is sent, so that `kill -9` at any moment loses nothing.
///
/// An alert's new state and its notice are one transaction. `OutboxPolicy` says what is owed; here it is asked, and obeyed.
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
    /// - Parameter recipients: called inside the transaction, so that a change of the receivers comes wholly before or wholly after it.
    /// - Returns: what is not owed any more because of it.
    @discardableResult
    func commit(
        _ record: AlertRecord, notice: Notice?, to recipients: @escaping @Sendable () -> [Recipient]
    ) async throws -> [Released] {
        let recordText = try Self.text(record)
        let noticeText = try notice.map { try Self.text($0) }
        let recipients = Once(recipients)
        return try await store.write { database in
            if record.state.isOpen {
                try database.execute(
                    sql: "INSERT OR REPLACE INTO alert_states (fingerprint, episode, record) VALUES (?, ?, ?)",
                    arguments: [record.fingerprint, record.episode, recordText])
            } else {
                try database.execute(sql: "DELETE FROM alert_states WHERE fingerprint = ?", arguments: [record.fingerprint])
            }
            guard let notice, let noticeText else { return [] }
            try database.execute(
                sql: "INSERT INTO alert_notices (id, fingerprint, episode, status, notice, created) VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [
                    notice.id, notice.fingerprint, notice.episode, notice.status.rawValue, noticeText,
                    notice.at.microsecondsSince1970,
                ])
            let sequence = database.lastInsertedRowID
            var released: [Released] = []
            for recipient in recipients.value {
                try Self.insertDelivery(sequence, notice.fingerprint, notice.episode, for: recipient, at: notice.at, in: database)
                released += try releaseNoLongerOwed(to: recipient, of: notice.fingerprint, at: notice.at, in: database)
            }
            return released
        }
    }

    static func insertDelivery(
        _ sequence: Int64, _ fingerprint: String, _ episode: String, for recipient: Recipient, at wall: WallTime, in database: Database
    ) throws {
        try database.execute(
            sql: """
                INSERT OR REPLACE INTO alert_deliveries (notice, address, receiver, fingerprint, episode, state, updated)
                VALUES (?, ?, ?, ?, ?, 'queued', ?)
                """,
            arguments: [sequence, recipient.addressKey, recipient.name, fingerprint, episode, wall.microsecondsSince1970])
    }

    /// Asks the policy about all notices of one alert for one recipient, and releases those that are not owed any more.
    func releaseNoLongerOwed(to recipient: Recipient, of fingerprint: String, at wall: WallTime, in database: Database) throws -> [Released] {
        let line = try Row.fetchAll(
            database,
            sql: """
                SELECT d.notice AS sequence, d.episode AS episode, n.status AS status, d.state AS state, d.refused AS refused
                FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                WHERE d.address = :address AND d.fingerprint = :fingerprint AND d.episode IN (
                    SELECT episode FROM alert_deliveries WHERE address = :address AND fingerprint = :fingerprint AND state = 'queued')
                ORDER BY d.notice
                """, arguments: ["address": recipient.addressKey, "fingerprint": fingerprint]
        ).compactMap(Owed.init)
        return try policy.releases(of: line).map { sequence, why in
            try database.execute(
                sql: "UPDATE alert_deliveries SET state = ?, answer = ?, updated = ? WHERE notice = ? AND address = ?",
                arguments: [DeliveryState.released.rawValue, why.rawValue, wall.microsecondsSince1970, sequence, recipient.addressKey])
            let alert = try String.fetchOne(
                database, sql: "SELECT \(Self.alertName("n")) FROM alert_notices n WHERE n.sequence = ?", arguments: [sequence])
            return Released(receiver: recipient.name, alert: alert ?? "?", why: why)
        }
    }

    static func text(_ value: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }
}

// Pieces of statements.
extension Outbox {
    /// SQL for: whether a firing of the episode has one of these states at the address. Episode and address are SQL, too: a column, or `?`.
    ///
    /// - Parameter notice: only a firing that came after this one.
    static func hasFiring(of episode: String, at address: String, after notice: String = "0", _ states: DeliveryState...) -> String {
        """
        EXISTS (
            SELECT 1 FROM alert_deliveries has JOIN alert_notices fired ON fired.sequence = has.notice
            WHERE has.episode = \(episode) AND has.address = \(address) AND fired.status = 'firing'
            AND has.notice > \(notice) AND has.state IN (\(states.map { "'\($0.rawValue)'" }.joined(separator: ", "))))
        """
    }

    /// The alert that a row of `alert_notices` is about; `?` where this version cannot read it.
    static func alertName(_ row: String) -> String {
        "CASE WHEN json_valid(\(row).notice) THEN coalesce(json_extract(\(row).notice, '$.labels.alertname'), '?') ELSE '?' END"
    }
}

/// A notice that waited for a receiver and is not owed to it any more.
struct Released: Sendable, Hashable {
    var receiver: String
    var alert: String
    var why: OutboxPolicy.Release
}

extension Logger {
    /// The outbox could not be read, or could not be written to.
    ///
    /// - Parameter receiver: whose rows it was about.
    func outboxFailed(_ failure: any Error, receiver: String? = nil) {
        var metadata: Metadata = ["error": "\("\(failure)".oneLine(limit: 300))"]
        if let receiver { metadata["receiver"] = "\(receiver)" }
        error("alert outbox cannot be read or written", metadata: metadata)
    }

    /// Says who is not told of an alert's end. The other reasons are no news: something later is sent instead, or the policy's bound was reached,
    /// which is counted.
    func logUntold(_ released: [Released]) {
        for one in released where one.why == .neverTold {
            warning(
                "receiver not told that an alert is over: it is not known to have accepted the firing",
                metadata: ["receiver": "\(one.receiver)", "alert": "\(one.alert)"])
        }
    }

    func logUnended(receiver: String, alert: String) {
        warning(
            "a receiver was told of an alert and will not be told of its end: its address is no longer configured",
            metadata: ["receiver": "\(receiver)", "alert": "\(alert)"])
    }
}

extension Owed {
    /// Nil for a status or a state of another version.
    fileprivate init?(_ row: Row) {
        guard let status = Notice.Status(rawValue: row["status"]), let state = DeliveryState(rawValue: row["state"]) else { return nil }
        self.init(sequence: row["sequence"], episode: row["episode"], status: status, state: state, wasRefused: row["refused"])
    }
}
