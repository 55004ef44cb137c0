import Vitals

/// Who held the connections and who waited at the moment a verdict changed.
///
/// Taken at the transition itself: a minute later the culprit has often let go.
public struct Evidence: Sendable, Hashable, Codable {
    /// Oldest first.
    public var holders: [Holder]
    /// Oldest first.
    public var waiters: [Waiter]
    /// How many holders and waiters were left out to stay within the bound.
    public var omitted: Int

    /// Rows kept of each kind; a notice stays below the 20 kB that Standard Webhooks recommends.
    public static let limit = 10

    public init(holders: [Holder] = [], waiters: [Waiter] = []) {
        let oldestHolders = holders.sorted { $0.ageSeconds > $1.ageSeconds }
        let oldestWaiters = waiters.sorted { $0.ageSeconds > $1.ageSeconds }
        self.holders = Array(oldestHolders.prefix(Self.limit))
        self.waiters = Array(oldestWaiters.prefix(Self.limit))
        omitted = max(0, holders.count - Self.limit) + max(0, waiters.count - Self.limit)
    }

    public var isEmpty: Bool { holders.isEmpty && waiters.isEmpty }

    public struct Holder: Sendable, Hashable, Codable {
        public var purpose: String
        /// Route or task id.
        public var detail: String?
        /// Fingerprint of the statement being run: its text with the values left out.
        public var statement: String?
        public var callSite: String?
        public var ageSeconds: Double
        public var inTransaction: Bool
        public var backendPID: Int?
        /// How urgent its work is: `critical`, `interactive`, `background`.
        public var workClass: String?
        /// What its backend waited for, `Lock:transactionid`, when the probe last looked; nil for nothing, and when that is not known.
        public var wait: String?
        /// Backends that held the lock it waited for; nil when nobody did.
        public var blockedBy: [Int]?

        // Evidence is kept in the outbox: what an earlier version wrote lacks the last three, and must still be read.
        private enum CodingKeys: String, CodingKey {
            case purpose, detail, statement, callSite, ageSeconds, inTransaction, backendPID, wait, blockedBy
            case workClass = "class"
        }

        /// Backends named of those that block.
        static let blockerLimit = 5

        public init(
            purpose: String, workClass: String? = nil, detail: String? = nil, statement: String? = nil, callSite: String? = nil,
            ageSeconds: Double, inTransaction: Bool = false, backendPID: Int? = nil, wait: String? = nil, blockedBy: [Int] = []
        ) {
            self.workClass = workClass
            self.wait = wait?.oneLine(limit: 60)
            self.blockedBy = blockedBy.isEmpty ? nil : Array(blockedBy.prefix(Self.blockerLimit))
            self.purpose = purpose.oneLine(limit: 80)
            self.detail = detail?.oneLine(limit: 120)
            self.statement = statement?.oneLine(limit: 200)
            self.callSite = callSite?.oneLine(limit: 120)
            self.ageSeconds = ageSeconds
            self.inTransaction = inTransaction
            self.backendPID = backendPID
        }

        /// `workspace.overview (GET /api/…) for 2.1 s: SELECT pg_sleep($1), in a transaction, backend 4711, waits for Lock:tuple held by 4712`
        public var text: String {
            var text = purpose
            if let detail { text += " (\(detail))" }
            text += " for \(Duration(clampingSeconds: ageSeconds).text)"
            if let statement { text += ": \(statement)" }
            if inTransaction { text += ", in a transaction" }
            if let backendPID { text += ", backend \(backendPID)" }
            if let wait { text += ", waits for \(wait)" }
            if let blockedBy { text += " held by \(blockedBy.map(String.init).joined(separator: " "))" }
            return text
        }
    }

    public struct Waiter: Sendable, Hashable, Codable {
        public var purpose: String
        public var ageSeconds: Double
        /// Time left until the caller gives up.
        public var deadlineInSeconds: Double?
        public var workClass: String?

        private enum CodingKeys: String, CodingKey {
            case purpose, ageSeconds, deadlineInSeconds
            case workClass = "class"
        }

        public init(purpose: String, workClass: String? = nil, ageSeconds: Double, deadlineInSeconds: Double? = nil) {
            self.workClass = workClass
            self.purpose = purpose.oneLine(limit: 80)
            self.ageSeconds = ageSeconds
            self.deadlineInSeconds = deadlineInSeconds
        }

        public var text: String { "\(purpose) for \(Duration(clampingSeconds: ageSeconds).text)" }
    }
}
