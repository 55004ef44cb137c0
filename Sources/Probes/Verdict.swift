public import Vitals

/// What a rule says now, and why.
public struct Verdict: Sendable, Hashable {
    public var state: HealthState
    /// One line, with numbers: `pool saturation 150 %, critical from 95 % (3 callers for 2 connections)`.
    public var reason: String
    /// Of the newest sample; nil when it had none.
    public var value: Double?
    /// The threshold the reason speaks of, if any.
    public var threshold: Double?
    public var standing: Standing
}

/// How a rule judges the samples, given what it said before.
///
/// - A worse state needs its votes, for `enterAfter`; critical may be entered directly from anywhere.
/// - A better state needs every sample below the leave threshold for `leaveAfter`. Both dwells are measured from sample to sample, so
///   that silence never heals.
/// - Without a sample for `staleAfter` the state is unknown; coming back from there, a bad state is resumed or recovers by its dwell.
public func verdict(for samples: SampleWindow, by rule: Rule, was standing: Standing, now: MonotonicInstant) -> Verdict {
    guard let newest = samples.newest else {
        return concluded(.unknown, standing, "\(rule.title): no sample yet", now: now)
    }
    let staleAfter = rule.staleAfter ?? newest.interval * 3
    guard now - newest.at <= staleAfter else {
        let reason = "\(rule.title): no sample for \((now - newest.at).text), stale after \(staleAfter.text)"
        return concluded(.unknown, standing, reason, now: now)
    }

    let base = standing.state == .unknown ? standing.lastKnown : standing.state
    let reading = Reading(of: samples, newest: newest, by: rule, base: base, countFrom: standing.countFrom)
    var next = standing
    if let cause = reading.cause { next.cause = cause }
    next.overCritical = reading.votes >= .critical ? standing.overCritical ?? newest.at : nil
    next.overDegraded = reading.votes >= .degraded ? standing.overDegraded ?? newest.at : nil
    next.underCritical = reading.holds < .critical ? standing.underCritical ?? newest.at : nil
    next.underDegraded = reading.holds < .degraded ? standing.underDegraded ?? newest.at : nil

    func lasted(_ since: MonotonicInstant?, _ dwell: Duration) -> Bool { since.map { newest.at - $0 >= dwell } ?? false }
    let entered: HealthState =
        lasted(next.overCritical, rule.enterAfter) ? .critical : lasted(next.overDegraded, rule.enterAfter) ? .degraded : .healthy
    let floor: HealthState =
        switch base {
        case .critical:
            lasted(next.underDegraded, rule.leaveAfter) ? .healthy : lasted(next.underCritical, rule.leaveAfter) ? .degraded : .critical
        case .degraded: lasted(next.underDegraded, rule.leaveAfter) ? .healthy : .degraded
        case .healthy, .unknown: .healthy
        }
    var decided = max(entered, floor)
    if standing.state == .unknown {
        // Neither healthy on a bad sample that lacks votes, nor bad again on samples that are already recovering.
        let undecided = decided.isBad ? reading.holds < decided : reading.alone.isBad
        if undecided { decided = .unknown }
    }
    if base == .critical && decided < .critical && decided != .unknown { next.countFrom = newest.at }
    var verdict = concluded(decided, next, "", now: now)
    verdict.value = reading.value
    verdict.threshold = rule.threshold(for: decided, reading: reading)
    verdict.reason = reason(rule, decided, reading, verdict.standing, base: base, newest: newest)
    return verdict
}

/// The verdict with what the rule is to remember of it.
private func concluded(_ state: HealthState, _ standing: Standing, _ reason: String, now: MonotonicInstant) -> Verdict {
    var next = standing
    if state != standing.state {
        if standing.state != .unknown { next.lastKnown = standing.state }
        next.state = state
        next.since = now
    }
    if state != .unknown { next.lastKnown = state }
    return Verdict(state: state, reason: reason, value: nil, threshold: nil, standing: next)
}

/// What the samples say by themselves, before any dwell.
struct Reading {
    /// The worst level whose votes are cast, the newest sample among them.
    var votes: HealthState
    /// The worst level that the newest sample does not let go of: it is not below that level's leave threshold.
    var holds: HealthState
    /// What the newest sample would be if it alone had a vote.
    var alone: HealthState
    var value: Double?
    var cause: String?
    var badCount: Int
    var of: Int

    init(of samples: SampleWindow, newest: Sample, by rule: Rule, base: HealthState, countFrom: MonotonicInstant?) {
        switch rule.condition {
        case .failures(let failures):
            func bad(_ sample: Sample) -> Bool { sample.outcome != .ok && countFrom.map { sample.at >= $0 } ?? true }
            func cast(_ votes: Rule.Votes) -> Bool { samples.count(last: votes.of, where: bad) >= votes.needed }
            let failing = newest.outcome != .ok
            let complaint = newest.measurement?.complaint
            let answering: HealthState = complaint == nil ? .healthy : .degraded
            alone = failing ? .critical : answering
            votes = !failing ? answering : cast(failures.critical) ? .critical : failures.degraded.map(cast) ?? false ? .degraded : .healthy
            // An outage that ends is not called flaky for the failures it consisted of.
            let flaky =
                base == .degraded
                && failures.degraded.map { samples.count(last: $0.of, where: bad) > $0.needed / 2 } ?? false
            holds = failing ? .critical : flaky ? .degraded : answering
            value = nil
            cause = newest.failure.map(\.description) ?? complaint
            let shown = votes == .critical || base == .critical ? failures.critical : failures.degraded ?? failures.critical
            of = min(shown.of, samples.samples.count)
            badCount = samples.count(last: shown.of, where: bad)

        case .value(let rule):
            func level(_ sample: Sample) -> HealthState {
                guard let value = sample.measurement?.values[rule.key] else { return .healthy }
                return rule.reaches(rule.critical, value) ? .critical : rule.reaches(rule.degraded, value) ? .degraded : .healthy
            }
            func cast(_ wanted: HealthState) -> Bool {
                level(newest) >= wanted && samples.count(last: rule.votes.of) { level($0) >= wanted } >= rule.votes.needed
            }
            value = newest.measurement?.values[rule.key]
            alone = level(newest)
            votes = cast(.critical) ? .critical : cast(.degraded) ? .degraded : .healthy
            if let value {
                holds =
                    rule.reaches(rule.leaveCritical, value)
                    ? .critical : rule.reaches(rule.leaveDegraded, value) ? .degraded : .healthy
            } else {
                holds = .healthy
            }
            cause = nil
            badCount = samples.count(last: rule.votes.of) { level($0).isBad }
            of = min(rule.votes.of, samples.samples.count)
        }
    }
}

extension Rule.Value {
    /// Whether the value is at the threshold or worse; false without one.
    func reaches(_ threshold: Double?, _ value: Double) -> Bool {
        guard let threshold else { return false }
        return direction == .higherIsWorse ? value >= threshold : value <= threshold
    }
}
