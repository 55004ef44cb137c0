public import Vitals

/// A rule changed its verdict: with the reason, the numbers, how long it had been otherwise, and who held what at that moment.
public struct Transition: Sendable, Hashable {
    /// Counts up from 1 over the board's life; observers get transitions in this order.
    public var number: Int
    public var rule: String
    public var component: ComponentID
    public var from: HealthState
    public var to: HealthState
    public var at: MonotonicInstant
    public var wall: WallTime
    public var reason: String
    public var value: Double?
    public var threshold: Double?
    public var unit: Unit
    /// What the sample behind a rule about a value measured, by name, in base units; empty for other rules.
    public var measured: [String: Double]
    /// How long `from` had lasted.
    public var previousDuration: Duration
    /// The component's state, which is that of its worst rule, before and after.
    public var componentFrom: HealthState
    public var componentTo: HealthState
    /// Taken outside the board's lock right after the change; nil where the component has none to give.
    public var evidence: Evidence?
}
