/// When a rule's verdicts are told, and how often at most.
public struct AlertRule: Sendable, Hashable {
    /// The least state that opens an alert.
    public var from: HealthState
    /// Whether a fall from critical to degraded is told; the alert stays open either way.
    public var tellsDeescalation: Bool
    public var flapping: Flapping.Policy

    public init(from: HealthState = .degraded, tellsDeescalation: Bool = false, flapping: Flapping.Policy = Flapping.Policy()) {
        precondition(from.isBad, "an alert opens on degraded or critical")
        self.from = from
        self.tellsDeescalation = tellsDeescalation
        self.flapping = flapping
    }
}
