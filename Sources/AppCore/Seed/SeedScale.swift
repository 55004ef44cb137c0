extension Seed {
    /// How much data: rows of each kind.
    public enum Scale: String, Sendable, Hashable, CaseIterable {
        /// A moment's work: to look at.
        case small
        /// Enough that an index matters.
        case medium
        /// Enough that a missing index hurts.
        case large

        var users: Int { pick(5, 100, 2_000) }
        var workspaces: Int { pick(20, 1_000, 20_000) }
        var tickers: Int { pick(12, 60, 200) }
        /// Trading days of each ticker.
        var days: Int { pick(300, 1_000, 2_520) }
        /// Quarters of each ticker.
        var quarters: Int { pick(12, 12, 40) }
        var snapshots: Int { pick(300, 40_000, 400_000) }
        var auditLogs: Int { pick(600, 100_000, 1_000_000) }

        public var rows: Int { users + workspaces + tickers * (days + quarters) + snapshots + auditLogs }

        private func pick(_ small: Int, _ medium: Int, _ large: Int) -> Int {
            switch self {
            case .small: small
            case .medium: medium
            case .large: large
            }
        }
    }
}
