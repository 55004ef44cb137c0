public import Vitals

/// Everything about alerts at one moment: for `/api/alerts`, the metrics and the page.
public struct AlertsSnapshot: Sendable {
    /// Oldest first.
    public var open: [OpenAlert]
    /// By name.
    public var receivers: [ReceiverStatus]
    /// Notices not sent, by reason; every reason is there, 0 included.
    public var suppressed: [Suppression: Int]
    /// What is or was wrong with the alert store; nil when all is well.
    public var outboxProblem: String?

    /// How many open alerts there are of a severity in a phase.
    public func count(severity: HealthState, phase: AlertState.Phase) -> Int {
        open.count { $0.severity == severity && $0.phase == phase }
    }
}

public struct OpenAlert: Sendable, Hashable {
    public var rule: String
    public var component: ComponentID
    public var fingerprint: String
    public var severity: HealthState
    public var phase: AlertState.Phase
    public var since: WallTime
    /// How long it has been open by the monotonic clock; the wall clock may have been set since.
    public var age: Duration
    public var reason: String
    public var value: Double?
    public var threshold: Double?
    public var peak: Double?
    public var unit: Unit
    public var evidence: Evidence?
    /// When a hold ends if nothing changes until then.
    public var heldUntil: WallTime?
    /// Which opening of the alert this is. A receiver that was told of an earlier one has not been told of this one.
    var episode = ""
    /// Names of the receivers that have accepted a firing of this episode.
    public var told: [String] = []
}

/// Why there was no notice of a change, or a receiver was not sent it.
public enum Suppression: String, Sendable, Hashable, CaseIterable {
    /// Held because the alert flaps.
    case flapping
    /// More changes, or undelivered notices of one alert, than are kept.
    case tooMany = "too_many"
    /// An open alert was seen bad again, after a start or from unknown, or got less bad: critical to degraded.
    case dedup
}

public struct ReceiverStatus: Sendable, Hashable {
    public var name: String
    /// Of the address, its host only.
    public var host: String
    /// Undelivered notices.
    public var queued: Int
    /// Age of the oldest of them.
    public var oldest: Duration?
    /// Every result is there, 0 included.
    public var attempts: [AttemptResult: Int]
    public var lastSuccess: WallTime?
    public var lastError: String?
    public var lastErrorAt: WallTime?
    /// Notices that became dead letters since the start.
    public var deadLetters: Int
    /// How long every attempt has failed.
    public var failingFor: Duration?
    /// It answered 410; nothing is sent until a reload or a start.
    public var isDisabled: Bool
    /// From the change of the verdict to the accepted delivery.
    public var lag: HistogramSnapshot
}
