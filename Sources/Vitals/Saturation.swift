import Synchronization

// Sums of what was measured, or read from somewhere, stop at the ends of their range: an overflow would end the program.

extension Int64 {
    func addingSaturated(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }

    func subtractingSaturated(_ other: Int64) -> Int64 {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? (other < 0 ? .max : .min) : difference
    }
}

extension Atomic where Value == Int64 {
    /// The library's own `add` traps.
    func addSaturated(_ amount: Int64) {
        var present = load(ordering: .relaxed)
        while true {
            let (exchanged, found) = weakCompareExchange(expected: present, desired: present.addingSaturated(amount), ordering: .relaxed)
            if exchanged { return }
            present = found
        }
    }
}
