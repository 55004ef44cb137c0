import Vitals

/// The board's plain state: guarded by its lock, without time or threads of its own.
struct BoardState {
    struct Tracked {
        var rule: Rule
        var window: SampleWindow
        var verdict: Verdict
        var sinceWall: WallTime
        /// The first sample of the present trouble, for the detection delay.
        var firstBadAt: MonotonicInstant?
    }

    struct Component {
        var state: HealthState = .unknown
        var since: MonotonicInstant
        var sinceWall: WallTime
        var transitions: [StateChange: Int] = [:]
        var durations: [HealthState: Duration] = [:]
        let detection = Histogram()
    }

    var tracked: [Tracked] = []
    var components: [ComponentID: Component] = [:]
    var history: [Transition] = []
    var count = 0
    var overall = HealthState.unknown
    var overallSince: WallTime

    static let historyLimit = 200

    init(rules: [Rule], now: MonotonicInstant, wall: WallTime) {
        overallSince = wall
        replace(rules: rules, now: now, wall: wall)
    }

    /// Rules that stay keep their state and samples under the new thresholds; others go with their state.
    mutating func replace(rules: [Rule], now: MonotonicInstant, wall: WallTime) {
        precondition(Set(rules.map(\.name)).count == rules.count, "a rule's name is its identity")
        let old = Dictionary(uniqueKeysWithValues: tracked.map { ($0.rule.name, $0) })
        tracked = rules.sorted { $0.name < $1.name }.map { rule in
            if var kept = old[rule.name], kept.rule.component == rule.component, kept.rule.probe == rule.probe {
                kept.rule = rule
                kept.window = kept.window.resized(to: rule.memory)
                return kept
            }
            let window = SampleWindow(capacity: rule.memory)
            let standing = Standing(since: now)
            return Tracked(
                rule: rule, window: window, verdict: Probes.verdict(for: window, by: rule, was: standing, now: now), sinceWall: wall)
        }
        let present = Set(rules.map(\.component))
        components = components.filter { present.contains($0.key) }
        for id in present where components[id] == nil { components[id] = Component(since: now, sinceWall: wall) }
        for id in present { _ = update(id, now: now, wall: wall) }
        updateOverall(wall: wall)
    }

    /// Judges what `sample` concerns, or every rule when there is none (a tick).
    mutating func evaluate(_ sample: Sample?, now: MonotonicInstant, wall: WallTime) -> [Transition] {
        var transitions: [Transition] = []
        for index in tracked.indices {
            if let sample {
                guard tracked[index].rule.concerns(sample) else { continue }
                tracked[index].window.append(sample)
            }
            let was = tracked[index].verdict
            let verdict = Probes.verdict(
                for: tracked[index].window, by: tracked[index].rule, was: was.standing, now: now)
            tracked[index].verdict = verdict
            if let sample { tracked[index].noteTrouble(sample, verdict) }
            guard verdict.state != was.state else { continue }
            transitions.append(change(index, from: was, to: verdict, now: now, wall: wall))
        }
        if !transitions.isEmpty { updateOverall(wall: wall) }
        return transitions
    }

    private mutating func change(
        _ index: Int, from was: Verdict, to verdict: Verdict, now: MonotonicInstant, wall: WallTime
    ) -> Transition {
        tracked[index].sinceWall = wall
        let rule = tracked[index].rule
        if verdict.state.isBad, verdict.state > was.state, let first = tracked[index].firstBadAt {
            components[rule.component]?.detection.record(now - first)
        }
        let (from, to) = update(rule.component, now: now, wall: wall)
        count += 1
        let (unit, measured): (Unit, [String: Double]) =
            if case .value(let value) = rule.condition {
                (value.unit, tracked[index].window.newest?.measurement?.values ?? [:])
            } else {
                (.number, [:])
            }
        let transition = Transition(
            number: count, rule: rule.name, component: rule.component, from: was.state, to: verdict.state, at: now, wall: wall,
            reason: verdict.reason, value: verdict.value, threshold: verdict.threshold, unit: unit,
            measured: measured, previousDuration: now - was.standing.since, componentFrom: from, componentTo: to, evidence: nil)
        if history.count == Self.historyLimit { history.removeFirst() }
        history.append(transition)
        return transition
    }

    /// A component is as bad as its worst rule.
    ///
    /// - Returns: its state before and after.
    private mutating func update(_ id: ComponentID, now: MonotonicInstant, wall: WallTime) -> (HealthState, HealthState) {
        guard var component = components[id] else { return (.unknown, .unknown) }
        let state = worst(of: id)?.verdict.state ?? .unknown
        let from = component.state
        guard state != from else { return (from, state) }
        component.durations[from, default: .zero] += now - component.since
        component.transitions[StateChange(from: from, to: state), default: 0] += 1
        component.state = state
        component.since = now
        component.sinceWall = wall
        components[id] = component
        return (from, state)
    }

    private mutating func updateOverall(wall: WallTime) {
        let worst = components.values.map(\.state).max() ?? .unknown
        guard worst != overall else { return }
        overall = worst
        overallSince = wall
    }

    /// The first by name among the worst.
    private func worst(of id: ComponentID) -> Tracked? {
        tracked.filter { $0.rule.component == id }.max { $0.verdict.state < $1.verdict.state }
    }
}

extension BoardState.Tracked {
    /// Trouble begins with the first bad sample that is still among those a verdict looks back on.
    fileprivate mutating func noteTrouble(_ sample: Sample, _ verdict: Verdict) {
        if sample.outcome != .ok || verdict.standing.overDegraded != nil {
            firstBadAt = firstBadAt ?? sample.at
        } else if verdict.state == .healthy, !window.samples.contains(where: { $0.outcome != .ok }) {
            firstBadAt = nil
        }
    }
}

extension BoardState {
    func snapshot(now: MonotonicInstant, wall: WallTime, evaluation: HistogramSnapshot) -> BoardSnapshot {
        let health = components.keys.sorted().compactMap { componentHealth($0, now: now) }
        return BoardSnapshot(
            taken: wall, overall: overall, overallSince: overallSince, sentence: sentence(health, wall: wall),
            components: health,
            rules: tracked.map { tracked in
                RuleHealth(
                    rule: tracked.rule, state: tracked.verdict.state, since: tracked.sinceWall,
                    lasting: now - tracked.verdict.standing.since, reason: tracked.verdict.reason, value: tracked.verdict.value,
                    sampleAge: tracked.window.newest.map { now - $0.at })
            },
            history: history, evaluation: evaluation)
    }

    private func componentHealth(_ id: ComponentID, now: MonotonicInstant) -> ComponentHealth? {
        guard let component = components[id], let worst = worst(of: id) else { return nil }
        var seconds = Dictionary(uniqueKeysWithValues: HealthState.allCases.map { ($0, component.durations[$0]?.seconds ?? 0) })
        seconds[component.state, default: 0] += (now - component.since).seconds
        return ComponentHealth(
            id: id, state: component.state, since: component.sinceWall, lasting: now - component.since, reason: worst.verdict.reason,
            rule: worst.rule.name,
            sampleAge: tracked.filter { $0.rule.component == id }.compactMap { $0.window.newest.map { now - $0.at } }.min(),
            transitions: component.transitions, secondsInState: seconds, detectionDelay: component.detection.snapshot())
    }

    private func sentence(_ health: [ComponentHealth], wall: WallTime) -> String {
        let worst = health.filter { $0.state == overall }
        guard let first = worst.first else { return "Unknown: nothing is watched" }
        let since = "since \(overallSince.clock(seenFrom: wall))"
        switch overall {
        case .healthy: return "Healthy \(since): all of \(health.map(\.id.rawValue).joined(separator: ", "))"
        case .unknown, .degraded, .critical:
            let name = overall.rawValue.prefix(1).uppercased() + overall.rawValue.dropFirst()
            let others = worst.dropFirst().map(\.reason)
            return "\(name) \(since): " + ([first.reason] + others).joined(separator: "; ")
        }
    }
}

extension WallTime {
    /// `14:02 UTC`, with the date when it is not of today: what a sentence needs of a time.
    func clock(seenFrom now: WallTime) -> String {
        let text = rfc3339
        let time = "\(text.dropFirst(11).prefix(5)) UTC"
        return text.prefix(10) == now.rfc3339.prefix(10) ? time : "\(text.prefix(10)) \(time)"
    }
}
