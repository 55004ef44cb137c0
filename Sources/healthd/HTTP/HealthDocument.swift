import Probes
import Vitals

/// `/api/health`: every check with its value, its thresholds, since when and how old.
///
/// Source: draft-inadarei-api-health-check-06 (`application/health+json`). Healthy is `pass`; degraded and unknown are `warn`,
/// because silence is not health; critical is `fail`, the only one that is not 200.
struct HealthDocument: Encodable, Sendable {
    static let contentType = "application/health+json"

    enum Status: String, Encodable {
        case pass, warn, fail

        init(_ state: HealthState) {
            switch state {
            case .healthy: self = .pass
            case .unknown, .degraded: self = .warn
            case .critical: self = .fail
            }
        }
    }

    struct Check: Encodable {
        var componentId: String
        var rule: String
        var componentType: String
        var status: Status
        var state: HealthState
        /// Of the newest sample; absent when there is none, or when the check is whether the target answers.
        var observedValue: Double?
        var observedUnit: String?
        var thresholds: Thresholds?
        /// When the newest sample was taken.
        var time: WallTime?
        /// When the present state began.
        var since: WallTime
        var ageSeconds: Double?
        var reason: String
        /// The reason again, under the draft's name for it; absent while all is well.
        var output: String?
    }

    /// Both edges of the hysteresis, in the unit of the value.
    struct Thresholds: Encodable {
        var degraded: Double?
        var critical: Double?
        var leaveDegraded: Double?
        var leaveCritical: Double?
    }

    var status: Status
    var state: HealthState
    var since: WallTime
    var version: String
    var serviceId: String
    var description = "healthd, the application's core and its watch"
    /// The verdict in one sentence.
    var output: String
    /// By component; of each the rule that decides its state first.
    var checks: [String: [Check]]

    init(_ board: BoardSnapshot, identity: ProgramIdentity) {
        status = Status(board.overall)
        state = board.overall
        since = board.overallSince
        version = identity.version
        serviceId = identity.name
        output = board.sentence
        checks = [:]
        let worstFirst = board.rules.sorted { ($1.state, $0.rule.name) < ($0.state, $1.rule.name) }
        for health in worstFirst {
            checks[health.rule.component.rawValue, default: []].append(Check(health, taken: board.taken))
        }
    }
}

extension HealthDocument.Check {
    init(_ health: RuleHealth, taken: WallTime) {
        componentId = health.rule.component.rawValue
        componentType = ["postgres", "redis"].contains(componentId) ? "datastore" : "component"
        status = HealthDocument.Status(health.state)
        state = health.state
        since = health.since
        rule = health.rule.name
        reason = health.reason
        output = health.state == .healthy ? nil : health.reason
        ageSeconds = health.sampleAge?.seconds
        time = health.sampleAge.map { taken + (.zero - $0) }
        guard case .value(let limits) = health.rule.condition else { return }
        observedValue = health.value.flatMap { $0.isFinite ? $0 : nil }
        observedUnit = limits.unit == .number ? nil : limits.unit.rawValue
        thresholds = HealthDocument.Thresholds(
            degraded: limits.degraded, critical: limits.critical, leaveDegraded: limits.leaveDegraded,
            leaveCritical: limits.leaveCritical)
    }
}
