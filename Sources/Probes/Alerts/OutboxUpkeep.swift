import GRDB
import Vitals

/// What a change of the receivers left behind.
struct Reconciled: Sendable, Hashable {
    /// A receiver that was told of an alert and will not be told of its end.
    struct Unended: Sendable, Hashable {
        var receiver: String
        var alert: String
    }

    /// How many, by receiver.
    var deadLetters: [String: Int] = [:]
    var unended: [Unended] = []
    var released: [Released] = []
}

extension Outbox {
    private static let goneText = "the receiver is no longer configured"

    /// Brings what is owed in line with who is configured now: at the start, and after a reload.
    ///
    /// A recipient is its address. What waits for one that went goes to the receiver that has its name now; where there is none, it becomes dead
    /// letters. Whoever has not been told of an alert that is open is told.
    ///
    /// - Parameter recipients: called inside the transaction, as in `commit`.
    func reconcile(at wall: WallTime, with recipients: @escaping @Sendable () -> [Recipient]) async throws -> Reconciled {
        let recipients = Once(recipients)
        return try await store.write { database in
            let recipients = recipients.value
            // Deliveries of a version that knew receivers by their names alone.
            for recipient in recipients {
                try database.execute(
                    sql: "UPDATE OR IGNORE alert_deliveries SET address = ? WHERE address = 'name:' || ?",
                    arguments: [recipient.addressKey, recipient.name])
            }
            try moveToPresentKeys(of: recipients, in: database)
            var reconciled = try reassignGone(besides: recipients, at: wall, in: database)
            for recipient in recipients { reconciled.released += try queueUntold(for: recipient, at: wall, in: database) }
            return reconciled
        }
    }

    /// Recipients with one address have different keys, and a change of the receivers may change who has which. What a recipient was owed and told
    /// goes with its name. What was owed to a recipient whose name is gone stays with its key, if somebody has that key; else it goes to the first
    /// recipient of the address.
    private func moveToPresentKeys(of recipients: [Recipient], in database: Database) throws {
        let keys = Set(recipients.map(\.addressKey))
        let stored = try Row.fetchAll(database, sql: "SELECT DISTINCT address, receiver FROM alert_deliveries ORDER BY address, receiver")
            .map { Recipient(name: $0["receiver"], addressKey: $0["address"]) }
        let moves = stored.compactMap { former -> (from: Recipient, to: String)? in
            let same = recipients.filter { $0.address == former.address }
            let heir = same.first { $0.name == former.name } ?? (keys.contains(former.addressKey) ? nil : same.first)
            guard let heir, heir.addressKey != former.addressKey else { return nil }
            return (from: former, to: heir.addressKey)
        }
        // By way of keys that nobody has, since two may change places.
        for (number, move) in moves.enumerated() {
            try database.execute(
                sql: "UPDATE alert_deliveries SET address = 'moving:' || ? WHERE address = ? AND receiver = ?",
                arguments: [number, move.from.addressKey, move.from.name])
        }
        for (number, move) in moves.enumerated() {
            // Of two rows about one notice the one that is further on stays: accepted, or else waiting.
            func rank(_ row: String) -> String { "CASE \(row).state WHEN 'delivered' THEN 2 WHEN 'queued' THEN 1 ELSE 0 END" }
            try database.execute(
                sql: """
                    DELETE FROM alert_deliveries AS d WHERE d.address = 'moving:' || :number AND EXISTS (
                        SELECT 1 FROM alert_deliveries k WHERE k.notice = d.notice AND k.address = :key AND \(rank("k")) >= \(rank("d")))
                    """, arguments: ["number": number, "key": move.to])
            try database.execute(
                sql: "UPDATE OR REPLACE alert_deliveries SET address = ? WHERE address = 'moving:' || ?", arguments: [move.to, number])
        }
    }

    /// Ends what is owed to recipients that are no longer configured: it goes to the one that has their name now, or becomes dead letters.
    private func reassignGone(besides recipients: [Recipient], at wall: WallTime, in database: Database) throws -> Reconciled {
        var reconciled = Reconciled()
        let known = Set(recipients.map(\.addressKey))
        let gone = try Row.fetchAll(
            database,
            sql: """
                SELECT address, receiver FROM alert_deliveries d
                WHERE state = 'queued' OR (state = 'delivered' AND episode IN (SELECT episode FROM alert_states))
                GROUP BY address, receiver ORDER BY max(notice)
                """
        ).map { Recipient(name: $0["receiver"], addressKey: $0["address"]) }.filter { !known.contains($0.addressKey) }
        for former in gone {
            // It has accepted the firing of these, and not been told of their end, which has not come yet or still waits.
            let alerts = try String.fetchAll(
                database,
                sql: """
                    SELECT DISTINCT \(Self.alertName("n"))
                    FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                    WHERE d.address = :address AND d.receiver = :name AND d.state = 'delivered' AND n.status = 'firing' AND d.answer IS NOT :gone
                    AND (d.episode IN (SELECT episode FROM alert_states)
                        OR EXISTS (SELECT 1 FROM alert_deliveries e JOIN alert_notices m ON m.sequence = e.notice
                            WHERE e.address = d.address AND e.episode = d.episode AND e.state = 'queued' AND m.status = 'resolved'))
                    """, arguments: ["address": former.addressKey, "name": former.name, "gone": Self.goneText])
            reconciled.unended += alerts.map { Reconciled.Unended(receiver: former.name, alert: $0) }
            // Marked, so that it is said once.
            try database.execute(
                sql: "UPDATE alert_deliveries SET answer = ? WHERE address = ? AND receiver = ? AND state = 'delivered'",
                arguments: [Self.goneText, former.addressKey, former.name])
            if let heir = recipients.first(where: { $0.name == former.name }) {
                // What the heir did not get, though it once waited for it, is owed to it again.
                try database.execute(
                    sql: """
                        DELETE FROM alert_deliveries WHERE address = :heir AND state IN (:dead, :released) AND notice IN (
                            SELECT notice FROM alert_deliveries WHERE address = :former AND receiver = :name AND state = 'queued')
                        """,
                    arguments: [
                        "heir": heir.addressKey, "former": former.addressKey, "name": former.name,
                        "dead": DeliveryState.deadLetter.rawValue, "released": DeliveryState.released.rawValue,
                    ])
                try database.execute(
                    sql: """
                        UPDATE OR IGNORE alert_deliveries SET address = ?, refused = 0 WHERE address = ? AND receiver = ? AND state = 'queued'
                        """, arguments: [heir.addressKey, former.addressKey, former.name])
                // The heir has accepted these already, or has them waiting: they are not owed to it a second time.
                try database.execute(
                    sql: "DELETE FROM alert_deliveries WHERE address = ? AND receiver = ? AND state = 'queued'",
                    arguments: [former.addressKey, former.name])
            }
            try database.execute(
                sql: "UPDATE alert_deliveries SET state = ?, answer = ?, updated = ? WHERE address = ? AND receiver = ? AND state = 'queued'",
                arguments: [DeliveryState.deadLetter.rawValue, Self.goneText, wall.microsecondsSince1970, former.addressKey, former.name])
            if database.changesCount > 0 { reconciled.deadLetters[former.name, default: 0] += database.changesCount }
        }
        return reconciled
    }

    /// Queues the latest firing of each open alert for a recipient that has accepted none of it, and for which none waits.
    private func queueUntold(for recipient: Recipient, at wall: WallTime, in database: Database) throws -> [Released] {
        let untold = try Row.fetchAll(
            database,
            sql: """
                SELECT max(n.sequence) AS sequence, n.fingerprint AS fingerprint, n.episode AS episode
                FROM alert_states s JOIN alert_notices n ON n.episode = s.episode
                WHERE n.status = 'firing' AND NOT \(Self.hasFiring(of: "s.episode", at: "?", .queued, .delivered))
                GROUP BY n.episode
                """, arguments: [recipient.addressKey])
        for row in untold {
            try Self.insertDelivery(row["sequence"], row["fingerprint"], row["episode"], for: recipient, at: wall, in: database)
        }
        let waiting = try String.fetchAll(
            database, sql: "SELECT DISTINCT fingerprint FROM alert_deliveries WHERE address = ? AND state = 'queued'", arguments: [recipient.addressKey])
        return try waiting.flatMap { try releaseNoLongerOwed(to: recipient, of: $0, at: wall, in: database) }
    }

    /// A notice is kept this long after it was last sent to anybody, or released, for those who ask what was sent.
    static let retention = Duration.seconds(7 * 86_400)
    /// What is over is kept for so long only if it is among this many latest notices.
    static let historyLimit = 1_000

    /// Forgets what is over for longer than the retention, or beyond the limit.
    ///
    /// Never what waits. And as long as an episode is open, or its end waits for somebody, two things more stay: what shows who was told of it, and
    /// its latest firing.
    func prune(at wall: WallTime) async throws {
        let before = (wall + (.zero - Self.retention)).microsecondsSince1970
        try await store.write { database in
            try database.execute(
                sql: """
                    DELETE FROM alert_notices AS n
                    WHERE (
                        coalesce((SELECT max(d.updated) FROM alert_deliveries d WHERE d.notice = n.sequence), n.created) < :before
                        OR n.sequence <= (SELECT sequence FROM alert_notices ORDER BY sequence DESC LIMIT 1 OFFSET :limit))
                    AND NOT EXISTS (SELECT 1 FROM alert_deliveries d WHERE d.notice = n.sequence AND d.state = 'queued')
                    AND (
                        (NOT EXISTS (SELECT 1 FROM alert_states s WHERE s.episode = n.episode)
                        AND NOT EXISTS (SELECT 1 FROM alert_deliveries d WHERE d.episode = n.episode AND d.state = 'queued'))
                    OR
                        (n.sequence < (SELECT max(m.sequence) FROM alert_notices m WHERE m.episode = n.episode AND m.status = 'firing')
                        AND NOT EXISTS (
                            SELECT 1 FROM alert_deliveries d WHERE d.notice = n.sequence AND d.state = 'delivered'
                            AND NOT \(Self.hasFiring(of: "d.episode", at: "d.address", after: "d.notice", .delivered))))
                    )
                    """, arguments: ["before": before, "limit": Self.historyLimit])
        }
    }
}
