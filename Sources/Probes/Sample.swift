public import Vitals

/// One run of a probe, however it ended.
public struct Sample: Sendable, Hashable {
    public var probe: ProbeID
    public var component: ComponentID
    /// When the run ended, or hit its deadline.
    public var at: MonotonicInstant
    public var wall: WallTime
    public var duration: Duration
    /// The probe's interval: what "stale" is measured against.
    public var interval: Duration
    public var result: Result<Measurement, ProbeFailure>

    public init(
        probe: ProbeID, component: ComponentID, at: MonotonicInstant, wall: WallTime, duration: Duration, interval: Duration,
        result: Result<Measurement, ProbeFailure>
    ) {
        self.probe = probe
        self.component = component
        self.at = at
        self.wall = wall
        self.duration = duration
        self.interval = interval
        self.result = result
    }

    public var outcome: ProbeOutcome {
        switch result {
        case .success: .ok
        case .failure(let failure): failure.outcome
        }
    }

    public var measurement: Measurement? { try? result.get() }

    public var failure: ProbeFailure? {
        if case .failure(let failure) = result { failure } else { nil }
    }
}
