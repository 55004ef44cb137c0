import FoundationEssentials
import GRDB
import Vitals

/// A notice that may be sent to one recipient.
struct Delivery: Sendable, Hashable {
    var sequence: Int64
    var recipient: Recipient
    var attempts: Int
    var notice: Notice
}

/// What waits for one recipient.
struct DeliveryQueue: Sendable {
    struct Waiting: Sendable, Hashable {
        var sequence: Int64
        /// Of the notice.
        var id: String
        var fingerprint: String
        var episode: String
        /// Its alert is open.
        var isOpen: Bool
        var created: WallTime
    }

    /// All, in their order.
    var waiting: [Waiting] = []
    /// The oldest notice of each alert, in their order: the only ones that may be sent.
    var heads: [Delivery] = []
    /// Heads that this version cannot read.
    var unreadable: [Waiting] = []
    /// Episodes of open alerts of which the recipient has accepted a firing.
    var told: Set<String> = []
}

extension Outbox {
    /// What waits for a recipient, as it stands now.
    func waiting(for recipient: Recipient) async throws -> DeliveryQueue {
        try await store.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT d.notice AS sequence, n.id AS id, d.fingerprint AS fingerprint, d.episode AS episode, d.attempts AS attempts,
                        n.created AS created, n.notice AS notice,
                        EXISTS (SELECT 1 FROM alert_states s WHERE s.episode = d.episode) AS open
                    FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                    WHERE d.address = ? AND d.state = 'queued' ORDER BY d.notice
                    """, arguments: [recipient.addressKey])
            var queue = DeliveryQueue()
            var seen: Set<String> = []
            for row in rows {
                let waiting = DeliveryQueue.Waiting(
                    sequence: row["sequence"], id: row["id"], fingerprint: row["fingerprint"], episode: row["episode"], isOpen: row["open"],
                    created: WallTime(microsecondsSince1970: row["created"]))
                queue.waiting.append(waiting)
                // Only the oldest of each alert may be sent: order holds per alert, and one that fails delays only its own.
                guard seen.insert(waiting.fingerprint).inserted else { continue }
                if let notice = try? JSONDecoder().decode(Notice.self, from: Data((row["notice"] as String).utf8)) {
                    queue.heads.append(
                        Delivery(sequence: waiting.sequence, recipient: recipient, attempts: row["attempts"], notice: notice))
                } else {
                    queue.unreadable.append(waiting)
                }
            }
            queue.told = try String.fetchSet(
                database, sql: "SELECT s.episode FROM alert_states s WHERE \(Self.hasFiring(of: "s.episode", at: "?", .delivered))",
                arguments: [recipient.addressKey])
            return queue
        }
    }

    /// The recipient has accepted it.
    ///
    /// - Returns: false when its row is gone: a reload has given it to another meanwhile.
    func markDelivered(_ delivery: Delivery, at wall: WallTime) async throws -> Bool {
        try await store.write { database in
            try database.execute(
                sql: "UPDATE alert_deliveries SET state = ?, attempts = attempts + 1, answer = ?, updated = ? WHERE notice = ? AND address = ?",
                arguments: [
                    DeliveryState.delivered.rawValue, "accepted", wall.microsecondsSince1970, delivery.sequence, delivery.recipient.addressKey,
                ])
            return database.changesCount > 0
        }
    }

    /// Nobody tries any more to send these.
    ///
    /// - Returns: what is not owed any more because of it.
    func makeDeadLetters(
        of waiting: [DeliveryQueue.Waiting], for recipient: Recipient, answer: String, at wall: WallTime
    ) async throws -> [Released] {
        try await store.write { database in
            for one in waiting {
                try database.execute(
                    sql: "UPDATE alert_deliveries SET state = ?, answer = ?, updated = ? WHERE notice = ? AND address = ?",
                    arguments: [DeliveryState.deadLetter.rawValue, answer, wall.microsecondsSince1970, one.sequence, recipient.addressKey])
            }
            return try Set(waiting.map(\.fingerprint)).sorted().flatMap {
                try releaseNoLongerOwed(to: recipient, of: $0, at: wall, in: database)
            }
        }
    }

    /// Counts a failed attempt; the delivery stays queued, unless it is not owed any more.
    ///
    /// - Parameter wasRefused: the receiver answered, and did not take it.
    /// - Returns: what is not owed any more because of it.
    func noteAttempt(_ delivery: Delivery, answer: String, wasRefused: Bool, at wall: WallTime) async throws -> [Released] {
        try await store.write { database in
            try database.execute(
                sql: """
                    UPDATE alert_deliveries SET attempts = attempts + 1, answer = ?, refused = max(refused, ?), updated = ?
                    WHERE notice = ? AND address = ?
                    """,
                arguments: [answer, wasRefused, wall.microsecondsSince1970, delivery.sequence, delivery.recipient.addressKey])
            return try releaseNoLongerOwed(to: delivery.recipient, of: delivery.notice.fingerprint, at: wall, in: database)
        }
    }
}
