import Probes
import Vitals

/// `/api/alerts`: what is open, why, and what became of the notices. Shows of a receiver's address its host only.
struct AlertsDocument: Encodable, Sendable {
    struct Alert: Encodable {
        var name: String
        var component: ComponentID
        var fingerprint: String
        var severity: HealthState
        /// `firing`, or `held` while it flaps.
        var state: AlertState.Phase
        var since: WallTime
        var ageSeconds: Double
        var reason: String
        var value: Double?
        var threshold: Double?
        var peak: Double?
        var unit: Unit
        var evidence: Evidence?
        var heldUntil: WallTime?
        /// Receivers that have accepted a firing of this episode.
        var told: [String]
    }

    struct Receiver: Encodable {
        var name: String
        var host: String
        var isWell: Bool
        var queued: Int
        var oldestQueuedSeconds: Double?
        var attempts: [String: Int]
        var lastSuccess: WallTime?
        var lastError: String?
        var lastErrorAt: WallTime?
        var failingForSeconds: Double?
        var deadLetters: Int
        var isDisabled: Bool
    }

    var asOf: WallTime
    var alerts: [Alert]
    var receivers: [Receiver]
    /// Notices not sent, by reason.
    var suppressed: [String: Int]
    /// What is or was wrong with the alert store; absent when all is well.
    var outboxProblem: String?

    init(_ snapshot: AlertsSnapshot, asOf: WallTime) {
        self.asOf = asOf
        alerts = snapshot.open.map { alert in
            Alert(
                name: alert.rule, component: alert.component, fingerprint: alert.fingerprint, severity: alert.severity,
                state: alert.phase, since: alert.since, ageSeconds: alert.age.seconds, reason: alert.reason,
                value: alert.value?.finite, threshold: alert.threshold?.finite, peak: alert.peak?.finite, unit: alert.unit,
                evidence: alert.evidence, heldUntil: alert.heldUntil, told: alert.told)
        }
        receivers = snapshot.receivers.map { receiver in
            Receiver(
                name: receiver.name, host: receiver.host, isWell: receiver.isWell, queued: receiver.queued,
                oldestQueuedSeconds: receiver.oldest?.seconds,
                attempts: Dictionary(uniqueKeysWithValues: receiver.attempts.map { ($0.rawValue, $1) }),
                lastSuccess: receiver.lastSuccess, lastError: receiver.lastError, lastErrorAt: receiver.lastErrorAt,
                failingForSeconds: receiver.failingFor?.seconds, deadLetters: receiver.deadLetters,
                isDisabled: receiver.isDisabled)
        }
        suppressed = Dictionary(uniqueKeysWithValues: snapshot.suppressed.map { ($0.rawValue, $1) })
        outboxProblem = snapshot.outboxProblem
    }
}

extension ReceiverStatus {
    /// It takes what it is sent, as far as we know.
    var isWell: Bool { failingFor == nil && !isDisabled }
}

extension Double {
    /// JSON has no word for the others.
    var finite: Double? { isFinite ? self : nil }
}
