import FoundationEssentials
import GRDB
public import Vitals

/// A notice on its way to one receiver.
struct Delivery: Sendable, Hashable {
    var sequence: Int64
    var receiver: String
    var attempts: Int
    var notice: Notice
}

/// What waits for one receiver: the oldest notice of each alert, and how much there is in all.
struct DeliveryQueue: Sendable {
    /// By sequence.
    var heads: [Delivery] = []
    var length = 0
    var oldest: WallTime?
}

/// How a delivery ended.
enum DeliveryEnd: String, Sendable {
    case delivered, dead, superseded
}

/// A delivery that was given up.
public struct DeadLetter: Sendable, Hashable {
    public var receiver: String
    public var notice: Notice
    public var reason: String
    public var attempts: Int
    public var at: WallTime
}

extension Outbox {
    /// How many alerts' heads are looked at in one turn.
    static let headLimit = 100

    func queue(of receiver: String) async throws -> DeliveryQueue {
        try await store.writer.read { database in
            // Only the oldest of each alert may be sent: order holds per alert, and one that fails delays only its own.
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT h.sequence AS sequence, d.attempts AS attempts, n.notice AS notice
                    FROM (SELECT min(notice) AS sequence FROM alert_deliveries
                          WHERE receiver = :receiver AND state = 'queued' GROUP BY fingerprint) h
                    JOIN alert_deliveries d ON d.notice = h.sequence AND d.receiver = :receiver
                    JOIN alert_notices n ON n.sequence = h.sequence
                    ORDER BY h.sequence LIMIT :limit
                    """, arguments: ["receiver": receiver, "limit": Self.headLimit])
            let totals = try Row.fetchOne(
                database,
                sql: """
                    SELECT count(*) AS length, min(n.created) AS oldest
                    FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                    WHERE d.receiver = ? AND d.state = 'queued'
                    """, arguments: [receiver])
            return DeliveryQueue(
                heads: try rows.map {
                    Delivery(
                        sequence: $0["sequence"], receiver: receiver, attempts: $0["attempts"], notice: try Self.notice($0["notice"]))
                },
                length: totals?["length"] ?? 0,
                oldest: (totals?["oldest"] as Int64?).map { WallTime(microsecondsSince1970: $0) })
        }
    }

    func end(_ delivery: Delivery, as end: DeliveryEnd, answer: String, at wall: WallTime) async throws {
        try await store.writer.write { database in
            try database.execute(
                sql: """
                    UPDATE alert_deliveries SET state = ?, attempts = attempts + ?, answer = ?, updated = ?
                    WHERE notice = ? AND receiver = ?
                    """,
                arguments: [
                    end.rawValue, end == .superseded ? 0 : 1, answer, wall.microsecondsSince1970, delivery.sequence,
                    delivery.receiver,
                ])
        }
    }

    /// Counts a failed attempt; the delivery stays queued.
    func noteAttempt(_ delivery: Delivery, answer: String, at wall: WallTime) async throws {
        try await store.writer.write { database in
            try database.execute(
                sql: "UPDATE alert_deliveries SET attempts = attempts + 1, answer = ?, updated = ? WHERE notice = ? AND receiver = ?",
                arguments: [answer, wall.microsecondsSince1970, delivery.sequence, delivery.receiver])
        }
    }

    /// Whether the receiver ever got a firing of this notice's episode.
    func wasDelivered(_ episode: String, to receiver: String) async throws -> Bool {
        try await store.writer.read { database in
            try Bool.fetchOne(
                database,
                sql: """
                    SELECT EXISTS (
                        SELECT 1 FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                        WHERE d.episode = ? AND d.receiver = ? AND n.status = 'firing' AND d.state = 'delivered')
                    """, arguments: [episode, receiver]) ?? false
        }
    }

    /// Gives up what waits for receivers that are no longer configured.
    ///
    /// - Returns: how many deliveries, by receiver.
    func abandon(exceptFor receivers: [String], at wall: WallTime) async throws -> [String: Int] {
        try await store.writer.write { database in
            let waiting = try Row.fetchAll(
                database, sql: "SELECT receiver, count(*) AS length FROM alert_deliveries WHERE state = 'queued' GROUP BY receiver")
            var abandoned: [String: Int] = [:]
            for row in waiting {
                let receiver: String = row["receiver"]
                guard !receivers.contains(receiver) else { continue }
                abandoned[receiver] = row["length"]
                try database.execute(
                    sql: """
                        UPDATE alert_deliveries SET state = 'dead', answer = 'the receiver is no longer configured', updated = ?
                        WHERE receiver = ? AND state = 'queued'
                        """, arguments: [wall.microsecondsSince1970, receiver])
            }
            return abandoned
        }
    }

    /// Forgets what ended before the retention and belongs to no open alert.
    func prune(at wall: WallTime) async throws {
        let before = (wall + (.zero - Self.retention)).microsecondsSince1970
        try await store.writer.write { database in
            try database.execute(
                sql: """
                    DELETE FROM alert_notices WHERE created < ?
                    AND episode NOT IN (SELECT episode FROM alert_states)
                    AND NOT EXISTS (SELECT 1 FROM alert_deliveries d WHERE d.notice = sequence AND d.state = 'queued')
                    """, arguments: [before])
        }
    }

    /// The latest given up, newest first.
    public func deadLetters(limit: Int = 50) async throws -> [DeadLetter] {
        try await store.writer.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT d.receiver AS receiver, d.answer AS answer, d.attempts AS attempts, d.updated AS updated, n.notice AS notice
                    FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice
                    WHERE d.state = 'dead' ORDER BY d.updated DESC, d.notice DESC LIMIT ?
                    """, arguments: [limit]
            ).map {
                DeadLetter(
                    receiver: $0["receiver"], notice: try Self.notice($0["notice"]), reason: $0["answer"] ?? "",
                    attempts: $0["attempts"], at: WallTime(microsecondsSince1970: $0["updated"]))
            }
        }
    }

    /// The latest notices, newest first, delivered or not.
    public func recentNotices(limit: Int = 50) async throws -> [Notice] {
        try await store.writer.read { database in
            try String.fetchAll(database, sql: "SELECT notice FROM alert_notices ORDER BY sequence DESC LIMIT ?", arguments: [limit])
                .map { try Self.notice($0) }
        }
    }

    private static func notice(_ text: String) throws -> Notice {
        try JSONDecoder().decode(Notice.self, from: Data(text.utf8))
    }
}
