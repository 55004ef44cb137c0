/// How many connections are in which phase, and how many of them which class has.
struct PoolNumbers {
    var connecting = 0
    var recovering = 0
    var retiring = 0
    private(set) var critical = 0
    private(set) var interactive = 0
    private(set) var background = 0

    var leased: Int { critical + interactive + background }
    /// Open, and not free: leased, recovering or retiring.
    var inUse: Int { leased + recovering + retiring }
    /// Leases of all but the critical class: those that `max` limits.
    var ordinary: Int { interactive + background }

    mutating func addLease(_ workClass: WorkClass, _ amount: Int) {
        switch workClass {
        case .critical: critical += amount
        case .interactive: interactive += amount
        case .background: background += amount
        }
    }
}

extension PoolConfiguration {
    /// Connections that this class may have at once.
    func limit(of workClass: WorkClass) -> Int {
        switch workClass {
        case .critical: max + reserved
        case .interactive: max
        case .background: backgroundMax
        }
    }

    /// Whether this class may have one more.
    func allows(_ workClass: WorkClass, _ numbers: PoolNumbers) -> Bool {
        switch workClass {
        case .critical: true
        case .interactive: numbers.ordinary < max
        case .background: numbers.ordinary < max && numbers.background < backgroundMax
        }
    }
}
