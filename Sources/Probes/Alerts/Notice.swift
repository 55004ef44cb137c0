import FoundationEssentials
public import Vitals

/// Why a notice is sent.
public enum NoticeReason: String, Sendable, Hashable, Codable, CaseIterable {
    /// A rule became bad.
    case firing
    /// Degraded became critical; the same alert.
    case escalated
    /// A rule is healthy again.
    case resolved
    /// It was healthy when first seen after a start, and had been bad before it.
    case recoveredWhileDown = "recovered-while-down"
    /// The rule that opened the alert is no longer configured.
    case ruleRemoved = "rule-removed"
    /// It changes too often: further changes are held until it is quiet.
    case flapping
    /// Flapping ended, and the rule is still bad.
    case settled
    /// Somebody asked for a test.
    case test
}

/// One message about an alert, the same for every receiver; stored before anything is sent.
public struct Notice: Sendable, Hashable, Codable {
    public enum Status: String, Sendable, Hashable, Codable {
        case firing, resolved
    }

    /// The `webhook-id`: the same in every attempt, so that a receiver can tell a repetition from news.
    public var id: String
    public var status: Status
    public var why: NoticeReason
    /// `alertname`, `component`, `severity`, `instance`.
    public var labels: [String: String]
    public var fingerprint: String
    public var startsAt: WallTime
    /// Of a resolved alert.
    public var endsAt: WallTime?
    /// How long the alert lasted by the monotonic clock; the wall clock may have been set in between. Nil unless it is resolved, and in a notice that
    /// an older version stored.
    var lastedSeconds: Double?
    /// One line a person can act on.
    public var summary: String
    /// The verdict's reason, with numbers.
    public var reason: String
    public var value: Double?
    public var threshold: Double?
    public var unit: Unit
    /// The worst value since the alert began.
    public var peak: Double?
    public var evidence: Evidence?
    /// When the verdict changed. Of a settled, a rule-removed, and a resolved that ends a hold: when the notice was made.
    public var at: WallTime

    /// The rule that it is about.
    var alertName: String { labels["alertname"] ?? "?" }

    /// From first firing to resolved.
    public var duration: Duration? { endsAt.map { ends in lastedSeconds.map { Duration(clampingSeconds: $0) } ?? max(.zero, ends - startsAt) } }

    /// One opening of one alert, from its firing to its resolved: its notices are sent in order.
    var episode: String { Self.episode(of: fingerprint, since: startsAt) }

    static func episode(of fingerprint: String, since startsAt: WallTime) -> String { "\(fingerprint)@\(startsAt.microsecondsSince1970)" }

    static func newID() -> String { "healthd_\(UUID().uuidString.lowercased())" }
}
