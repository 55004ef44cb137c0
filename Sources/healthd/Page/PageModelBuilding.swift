import AppCore
import Probes
import Vitals

/// The snapshots a page is made from, all of one moment.
struct PageSources: Sendable {
    var identity: ProgramIdentity
    /// On the monotonic clock.
    var now: MonotonicInstant
    var board: BoardSnapshot
    var recent: [ComponentID: [ProbeOutcome]]
    var pool: PoolStatistics
    /// Callers that may queue.
    var waiterLimit: Int
    var holders: PoolHolders
    /// What the holders' backends waited for, as last seen.
    var look: BackendLook?
    var alerts: AlertsSnapshot
    /// Of the parts beyond the pool: cache, tasks, streams, process.
    var figures: [PageModel.Figure] = []
}

extension PageModel {
    /// Rows shown of holders and of waiters, each.
    static let rowLimit = 25
    static let changeLimit = 12

    init(_ sources: PageSources) {
        let board = sources.board
        name = sources.identity.name
        version = sources.identity.version
        asOf = board.taken
        uptime = sources.now - sources.identity.startedInstant
        verdict = board.overall
        // The heading has said the state; the sentence goes on from there.
        let said = board.overall.word + " "
        sentence = board.sentence.hasPrefix(said) ? board.sentence.dropFirst(said.count).capitalisedFirst : board.sentence
        figures = Figure.pool(sources) + [Figure.queries(sources)] + sources.figures
        // The worst first: that is what somebody came to see.
        components = board.components.sorted { ($1.state, $0.id) < ($0.state, $1.id) }.map { component in
            Component(
                component, rules: board.rules.filter { $0.rule.component == component.id },
                recent: sources.recent[component.id] ?? [])
        }
        holders = sources.holders.holders.prefix(Self.rowLimit).map { holder in
            HolderRow(
                purpose: holder.purpose, detail: holder.detail, statement: holder.statement, callSite: holder.callSite,
                age: holder.age, inTransaction: holder.inTransaction, backendPID: holder.backendPID > 0 ? holder.backendPID : nil,
                workClass: holder.workClass.rawValue, wait: sources.look?.wait(of: holder)?.text)
        }
        waiters = sources.holders.waiters.prefix(Self.rowLimit).map { waiter in
            WaiterRow(
                purpose: waiter.purpose, workClass: waiter.workClass.rawValue, detail: waiter.detail, age: waiter.age,
                deadlineIn: waiter.deadlineIn)
        }
        omittedHolders = max(0, sources.holders.holders.count - Self.rowLimit)
        omittedWaiters = max(0, sources.holders.waiters.count - Self.rowLimit)
        alerts = sources.alerts.open.map { Alert($0, receivers: sources.alerts.receivers) }
        receivers = sources.alerts.receivers.map(Receiver.init)
        outboxProblem = sources.alerts.outboxProblem
        changes = board.history.suffix(Self.changeLimit).reversed().map { change in
            Change(at: change.wall, component: change.component.rawValue, from: change.from, to: change.to, reason: change.reason)
        }
    }
}

extension PageModel.Component {
    fileprivate init(_ component: ComponentHealth, rules: [RuleHealth], recent: [ProbeOutcome]) {
        name = component.id.rawValue
        state = component.state
        self.recent = recent
        self.rules = rules.map(PageModel.Rule.init)
        since = component.since
        sinceFor = component.lasting
        reason = component.reason
    }
}

extension PageModel.Rule {
    fileprivate init(_ health: RuleHealth) {
        name = health.rule.title
        state = health.state
        switch health.rule.condition {
        case .failures(let failures):
            value = health.state == .healthy ? "answers" : health.state == .unknown ? "not known" : "fails"
            thresholds = "critical at \(failures.critical.needed) of \(failures.critical.of) looks"
        case .value(let limits):
            value = health.value.map(limits.unit.text) ?? "no value"
            let (from, leave) = limits.direction == .higherIsWorse ? ("from", "below") : ("down to", "above")
            var parts: [String] = []
            if let degraded = limits.degraded { parts.append("degraded \(from) \(limits.unit.text(degraded))") }
            if let critical = limits.critical { parts.append("critical \(from) \(limits.unit.text(critical))") }
            if let end = limits.leaveDegraded ?? limits.leaveCritical { parts.append("ends \(leave) \(limits.unit.text(end))") }
            thresholds = parts.joined(separator: ", ")
        }
    }
}

extension PageModel.Alert {
    /// Holders named beside an alert; the rest is at `/api/alerts`.
    private static let evidenceLimit = 3

    fileprivate init(_ alert: OpenAlert, receivers: [ReceiverStatus]) {
        name = alert.rule
        state = alert.phase == .held ? "held back: it flaps" : "firing"
        severity = alert.severity
        since = alert.since
        sinceFor = alert.age
        reason = alert.reason
        evidence = alert.evidence?.holders.prefix(Self.evidenceLimit).map(\.text) ?? []
        deliveries = receivers.map { receiver in
            let rest = receiver.queued > 0 ? "; \(receiver.queued) not delivered yet" : ""
            return alert.told.contains(receiver.name) ? "\(receiver.name) was told\(rest)" : "\(receiver.name) has not been told of it\(rest)"
        }
    }
}

extension PageModel.Receiver {
    fileprivate init(_ receiver: ReceiverStatus) {
        name = receiver.name
        waiting = receiver.queued
        deadLetters = receiver.deadLetters
        isWell = receiver.isWell
        if receiver.isDisabled {
            note = "disabled: it answered 410; a reload tries it again"
        } else if let failing = receiver.failingFor {
            note = "fails for \(failing.text)\(receiver.lastError.map { ": \($0)" } ?? "")"
        } else if let last = receiver.lastSuccess {
            note = "took the last notice at \(last.rfc3339.dropFirst(11).prefix(8)) UTC"
        } else {
            note = "nothing sent yet"
        }
    }
}

extension Substring {
    fileprivate var capitalisedFirst: String { prefix(1).uppercased() + dropFirst() }
}
