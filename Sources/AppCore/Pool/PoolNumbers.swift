extension PoolState {
    /// How many connections are in which phase.
    struct Numbers {
        var connecting = 0
        var recovering = 0
        var critical = 0
        var interactive = 0
        var background = 0

        var leased: Int { critical + interactive + background }
        /// Those that the limit for all but the critical class counts.
        var ordinary: Int { interactive + background }

        mutating func addLease(_ workClass: WorkClass, _ amount: Int) {
            switch workClass {
            case .critical: critical += amount
            case .interactive: interactive += amount
            case .background: background += amount
            }
        }
    }
}
