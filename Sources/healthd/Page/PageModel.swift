import Probes
import Vitals

/// All that the page shows, as plain values: rendering decides nothing.
struct PageModel: Sendable {
    /// Of the machine or the service, for the title.
    var name: String
    var version: String
    var asOf: WallTime
    var uptime: Duration

    var verdict: HealthState
    /// The verdict in one sentence.
    var sentence: String

    var figures: [Figure] = []
    var components: [Component] = []
    var holders: [HolderRow] = []
    var waiters: [WaiterRow] = []
    /// Beyond those listed.
    var omittedHolders = 0
    var omittedWaiters = 0
    var alerts: [Alert] = []
    var receivers: [Receiver] = []
    /// What is or was wrong with the alert store; nil when all is well.
    var outboxProblem: String?
    var changes: [Change] = []

    /// One number: now, and its limit.
    struct Figure: Sendable {
        var title: String
        var now: String
        var limit: String?
        /// What stands behind the number, in a few words.
        var detail: String?
        /// 0 to 1: how full, for the bar.
        var share: Double?
        var state: HealthState = .healthy
    }

    struct Component: Sendable {
        var name: String
        var state: HealthState
        /// Outcome of the last looks, oldest first.
        var recent: [ProbeOutcome] = []
        var rules: [Rule] = []
        var since: WallTime
        var sinceFor: Duration
        var reason: String
    }

    struct Rule: Sendable {
        var name: String
        var value: String
        /// `degraded from 80 %, critical from 95 %, ends below 70 %`
        var thresholds: String
        var state: HealthState
    }

    struct HolderRow: Sendable {
        var purpose: String
        var detail: String?
        var statement: String?
        var callSite: String?
        var age: Duration
        var inTransaction: Bool
        var backendPID: Int?
        var workClass = ""
        /// What its backend waits for in PostgreSQL: `waits for Lock:transactionid, held by backend 4711`.
        var wait: String?
    }

    struct WaiterRow: Sendable {
        var purpose: String
        var workClass = ""
        var detail: String?
        var age: Duration
        var deadlineIn: Duration?
    }

    struct Alert: Sendable {
        var name: String
        var state: String
        var severity: HealthState
        var since: WallTime
        var sinceFor: Duration
        var reason: String
        /// Who held what when it began.
        var evidence: [String]
        /// For each receiver, whether it knows: `oncall was told`.
        var deliveries: [String]
    }

    struct Receiver: Sendable {
        var name: String
        var waiting: Int
        var deadLetters: Int
        var note: String
        var isWell: Bool
    }

    struct Change: Sendable {
        var at: WallTime
        var component: String
        var from: HealthState
        var to: HealthState
        var reason: String
    }
}
