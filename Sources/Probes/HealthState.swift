/// How a component is, in ascending order of severity.
///
/// `unknown` is worse than `healthy`: silence is not health.
public enum HealthState: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
    case healthy
    /// No sample yet, or none for too long. Leads anywhere, as soon as samples come again.
    case unknown
    case degraded
    case critical

    /// 0 healthy, 1 unknown, 2 degraded, 3 critical: the value of `healthd_health_severity`.
    public var severity: Int {
        switch self {
        case .healthy: 0
        case .unknown: 1
        case .degraded: 2
        case .critical: 3
        }
    }

    /// Degraded or critical: something a person may have to act on.
    public var isBad: Bool { self >= .degraded }

    public static func < (left: Self, right: Self) -> Bool { left.severity < right.severity }
}
