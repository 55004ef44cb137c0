import GRDB
import Vitals

/// What a change of the receivers left behind.
struct Reconciled: Sendable, Hashable {
    /// Who was told of an alert and will not be told of its end.
    struct Unended: Sendable, Hashable {
        var receiver: String
        var alert: String
    }

    /// By receiver, how many notices nobody will get.
    var abandoned: [String: Int] = [:]
    var unended: [Unended] = []
    var released: [Released] = []
}

extension Outbox {
    private static let goneText = "the receiver is no longer configured"

    /// Brings what is owed in line with who is configured now: at the start, and after a reload.
    ///
    /// A recipient is its address. What waits for one that went is inherited by the receiver that has its name now, and given up where there
    /// is none. Whoever has not been told of an alert that is open is told.
    func reconcile(with recipients: [Recipient], at wall: WallTime) async throws -> Reconciled {
        try await store.write { database in
            // Deliveries of a version that knew receivers by their names alone.
            for recipient in recipients {
                try database.execute(
                    sql: "UPDATE OR IGNORE alert_deliveries SET address = ? WHERE address = 'name:' || ?",
                    arguments: [recipient.address, recipient.name])
            }
            var reconciled = try leaveGone(besides: recipients, at: wall, in: database)
            for recipient in recipients { reconciled.released += try queueUntold(for: recipient, at: wall, in: database) }
            return reconciled
        }
    }

    /// Ends what is owed to recipients that are no longer configured: it goes to the one that has their name now, or is given up.
    private func leaveGone(besides recipients: [Recipient], at wall: WallTime, in database: Database) throws -> Reconciled {
        var reconciled = Reconciled()
        let known = Set(recipients.map(\.address))
        let gone = try Row.fetchAll(
            database,
            sql: """
                SELECT address, receiver FROM alert_deliveries d
                WHERE state = 'queued' OR (state = 'delivered' AND episode IN (SELECT episode FROM alert_states))
                GROUP BY address, receiver ORDER BY max(notice)
                """
        ).map { Recipient(name: $0["receiver"], address: $0["address"]) }.filter { !known.contains($0.address) }
        for former in gone {
            // Told of it, and not of its end, which has not come yet or still waits.
            let alerts = try String.fetchAll(
                database,
                sql: """
                    SELECT DISTINCT \(Self.alertName("n"))
                    FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                    WHERE d.address = :address AND d.receiver = :name AND d.state = 'delivered' AND n.status = 'firing' AND d.answer IS NOT :gone
                    AND (d.episode IN (SELECT episode FROM alert_states)
                        OR EXISTS (SELECT 1 FROM alert_deliveries e JOIN alert_notices m ON m.sequence = e.notice
                            WHERE e.address = d.address AND e.episode = d.episode AND e.state = 'queued' AND m.status = 'resolved'))
                    """, arguments: ["address": former.address, "name": former.name, "gone": Self.goneText])
            reconciled.unended += alerts.map { Reconciled.Unended(receiver: former.name, alert: $0) }
            // Said once.
            try database.execute(
                sql: "UPDATE alert_deliveries SET answer = ? WHERE address = ? AND receiver = ? AND state = 'delivered'",
                arguments: [Self.goneText, former.address, former.name])
            if let heir = recipients.first(where: { $0.name == former.name }) {
                try database.execute(
                    sql: """
                        UPDATE OR IGNORE alert_deliveries SET address = ?, refused = 0 WHERE address = ? AND receiver = ? AND state = 'queued'
                        """, arguments: [heir.address, former.address, former.name])
            }
            try database.execute(
                sql: "UPDATE alert_deliveries SET state = 'dead', answer = ?, updated = ? WHERE address = ? AND receiver = ? AND state = 'queued'",
                arguments: [Self.goneText, wall.microsecondsSince1970, former.address, former.name])
            if database.changesCount > 0 { reconciled.abandoned[former.name, default: 0] += database.changesCount }
        }
        return reconciled
    }

    /// Queues the latest firing of each open alert for a recipient that has taken none of it, and for which none waits.
    private func queueUntold(for recipient: Recipient, at wall: WallTime, in database: Database) throws -> [Released] {
        let untold = try Row.fetchAll(
            database,
            sql: """
                SELECT max(n.sequence) AS sequence, n.fingerprint AS fingerprint, n.episode AS episode
                FROM alert_states s JOIN alert_notices n ON n.episode = s.episode
                WHERE n.status = 'firing' AND NOT \(Self.hasFiring(of: "s.episode", at: "?", .queued, .delivered))
                GROUP BY n.episode
                """, arguments: [recipient.address])
        for row in untold {
            try Self.queue(row["sequence"], row["fingerprint"], row["episode"], for: recipient, at: wall, in: database)
        }
        let waiting = try String.fetchAll(
            database, sql: "SELECT DISTINCT fingerprint FROM alert_deliveries WHERE address = ? AND state = 'queued'", arguments: [recipient.address])
        return try waiting.flatMap { try releaseNoLongerOwed(to: recipient, of: $0, at: wall, in: database) }
    }

    /// Ended notices are kept this long, for those who ask what was sent; and no more than `historyLimit` of them.
    static let retention = Duration.seconds(7 * 86_400)
    static let historyLimit = 1_000

    /// Forgets what ended before the retention.
    ///
    /// Never what waits. And as long as an episode is open, or its end waits for somebody: neither what shows who was told of it, nor its latest firing.
    func prune(at wall: WallTime) async throws {
        let before = (wall + (.zero - Self.retention)).microsecondsSince1970
        try await store.write { database in
            try database.execute(
                sql: """
                    DELETE FROM alert_notices AS n
                    WHERE (n.created < :before OR n.sequence < (SELECT sequence FROM alert_notices ORDER BY sequence DESC LIMIT 1 OFFSET :limit))
                    AND NOT EXISTS (SELECT 1 FROM alert_deliveries d WHERE d.notice = n.sequence AND d.state = 'queued')
                    AND (
                        (NOT EXISTS (SELECT 1 FROM alert_states s WHERE s.episode = n.episode)
                        AND NOT EXISTS (SELECT 1 FROM alert_deliveries d WHERE d.episode = n.episode AND d.state = 'queued'))
                    OR
                        (n.sequence < (SELECT max(m.sequence) FROM alert_notices m WHERE m.episode = n.episode AND m.status = 'firing')
                        AND NOT EXISTS (
                            SELECT 1 FROM alert_deliveries d WHERE d.notice = n.sequence AND d.state = 'delivered'
                            AND NOT EXISTS (
                                SELECT 1 FROM alert_deliveries e JOIN alert_notices m ON m.sequence = e.notice
                                WHERE e.episode = d.episode AND e.address = d.address AND e.state = 'delivered' AND m.status = 'firing'
                                AND e.notice > d.notice)))
                    )
                    """, arguments: ["before": before, "limit": Self.historyLimit])
        }
    }
}
