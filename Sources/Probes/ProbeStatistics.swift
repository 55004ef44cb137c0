public import Vitals

/// What a runner has counted since it was made: for metrics.
public struct ProbeStatistics: Sendable {
    public var probe: ProbeID
    public var component: ComponentID
    public var interval: Duration
    /// Every outcome is there, 0 included.
    public var runs: [ProbeOutcome: Int]
    /// Runs not begun because the one before had not come back.
    public var overruns: Int
    /// Results that came after their deadline and were dropped.
    public var lateResults: Int
    public var duration: HistogramSnapshot
    public var lastOutcome: ProbeOutcome?
    public var lastDuration: Duration?
    public var lastSuccess: WallTime?
    /// Since the last successful run; nil when there was none.
    public var staleness: Duration?
    /// How long the run in progress has taken; nil when there is none.
    public var runningFor: Duration?
    /// Facts of the last successful run.
    public var facts: [String: String]

    /// Whether the last run found the target well; nil before the first.
    public var up: Bool? { lastOutcome.map { $0 == .ok } }
}
