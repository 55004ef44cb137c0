extension Duration {
    /// So many seconds, as they were read from somewhere: at most 30 million years either way, and none for what is no number.
    /// `seconds(_:)` traps on those.
    public init(clampingSeconds seconds: Double) {
        self = .seconds(seconds.isNaN ? 0 : min(max(seconds, -1e15), 1e15))
    }

    /// Whole nanoseconds; saturates at about ±292 years.
    public var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (sum, overflowed) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflowed ? (seconds < 0 ? .min : .max) : sum
    }

    public var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }

    /// What a person reads: two figures at most, the unit last. `1.2 s`, `250 ms`, `3 min 20 s`, `2 h 5 min`.
    public var text: String {
        let value = seconds
        // Each unit begins where the smaller one would be rounded up to it.
        switch abs(value) {
        case ..<0.0000005: return "0 s"
        case ..<0.0009995: return "\(trimmed(value * 1_000_000)) µs"
        case ..<0.9995: return "\(trimmed(value * 1_000)) ms"
        case ..<59.5: return "\(trimmed(value)) s"
        case ..<3_599.5: return pair(value, large: 60, "min", small: 1, "s")
        case ..<86_399.5: return pair(value, large: 3_600, "h", small: 60, "min")
        default: return pair(value, large: 86_400, "d", small: 3_600, "h")
        }
    }

    private func trimmed(_ value: Double) -> String {
        let rounded = abs(value) < 10 ? (value * 10).rounded() / 10 : value.rounded()
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }

    private func pair(_ value: Double, large: Int, _ largeUnit: String, small: Int, _ smallUnit: String) -> String {
        let total = Int(min(max(value, -1e18), 1e18).rounded())
        let rest = total % large / small
        return rest == 0 ? "\(total / large) \(largeUnit)" : "\(total / large) \(largeUnit) \(rest) \(smallUnit)"
    }

    /// Reads a setting such as `250ms`, `5s`, `30m`, `1.5h`, `7d`.
    ///
    /// Returns nil for a missing unit, a negative number or anything else: a bare number would hide its unit.
    public init?(setting text: some StringProtocol) {
        let units: [(String, Double)] = [("ms", 0.001), ("us", 0.000001), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
        guard let (unit, scale) = units.first(where: { text.hasSuffix($0.0) }) else { return nil }
        guard let number = Double(text.dropLast(unit.count)), number.isFinite, number >= 0, number * scale < 9e9 else { return nil }
        self = .nanoseconds(Int64((number * scale * 1_000_000_000).rounded()))
    }
}
