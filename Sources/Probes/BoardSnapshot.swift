public import Vitals

/// Everything the board knew at one moment.
public struct BoardSnapshot: Sendable {
    public var taken: WallTime
    /// The worst of all components; unknown when there is none.
    public var overall: HealthState
    public var overallSince: WallTime
    /// The verdict in one sentence: `Critical since 14:02 UTC: pool saturation 150 %, critical from 95 %`.
    public var sentence: String
    /// By name.
    public var components: [ComponentHealth]
    /// By name.
    public var rules: [RuleHealth]
    /// The latest transitions, newest last; bounded.
    public var history: [Transition]
    /// Time a classification took.
    public var evaluation: HistogramSnapshot

    public func component(_ id: ComponentID) -> ComponentHealth? { components.first { $0.id == id } }

    public func rule(_ name: String) -> RuleHealth? { rules.first { $0.rule.name == name } }
}

public struct ComponentHealth: Sendable {
    public var id: ComponentID
    public var state: HealthState
    public var since: WallTime
    /// How long the state has lasted, by the monotonic clock.
    public var lasting: Duration
    /// That of its worst rule.
    public var reason: String
    /// The rule that decides the state.
    public var rule: String
    /// Age of the newest sample of any of its rules; nil before the first.
    public var sampleAge: Duration?
    public var transitions: [StateChange: Int]
    /// Every state is there, 0 included.
    public var secondsInState: [HealthState: Double]
    /// From the first bad sample to the change for the worse.
    public var detectionDelay: HistogramSnapshot
}

public struct StateChange: Sendable, Hashable, Comparable {
    public var from: HealthState
    public var to: HealthState

    public init(from: HealthState, to: HealthState) {
        self.from = from
        self.to = to
    }

    public static func < (left: Self, right: Self) -> Bool { (left.from, left.to) < (right.from, right.to) }
}

public struct RuleHealth: Sendable {
    /// With both edges of its thresholds.
    public var rule: Rule
    public var state: HealthState
    public var since: WallTime
    public var lasting: Duration
    public var reason: String
    /// Of the newest sample; nil when it had none.
    public var value: Double?
    /// Of the newest sample this rule could judge; nil before the first.
    public var sampleAge: Duration?
}
