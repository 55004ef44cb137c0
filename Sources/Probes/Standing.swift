public import Vitals

/// What a rule remembers between two verdicts. A value: the same standing and samples always give the same verdict.
public struct Standing: Sendable, Hashable {
    public internal(set) var state: HealthState
    public internal(set) var since: MonotonicInstant
    /// The state before `unknown`: a dwell is not escaped by going silent.
    var lastKnown: HealthState = .healthy
    /// Since when every sample has come with votes enough for the level, or for a worse one.
    var overDegraded: MonotonicInstant?
    var overCritical: MonotonicInstant?
    /// Since when samples have been below the level's leave threshold without a break.
    var underDegraded: MonotonicInstant?
    var underCritical: MonotonicInstant?
    /// Failures before this instant belong to an outage that is over.
    var countFrom: MonotonicInstant?
    /// What was wrong last, in words.
    var cause: String?

    public init(state: HealthState = .unknown, since: MonotonicInstant) {
        self.state = state
        self.since = since
    }
}
