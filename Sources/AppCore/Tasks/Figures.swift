#if canImport(Glibc)
    import Glibc
#endif

/// What prices and statements say, as numbers. Pure; every function says what it needs and answers nil without it.
///
/// Prices are closes, oldest first, all above zero.
enum Figures {
    /// Trading days in a year, as volatility is quoted.
    static let yearDays = 252.0

    static func logReturns(_ closes: [Double]) -> [Double] {
        zip(closes.dropFirst(), closes).map { log($0 / $1) }
    }

    /// The change over the last `days` days; over all there are when there are fewer. Nil with fewer than two closes.
    static func change(_ closes: [Double], days: Int) -> Double? {
        guard closes.count > 1, let last = closes.last else { return nil }
        return last / closes[max(0, closes.count - 1 - days)] - 1
    }

    static func mean(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }

    /// With n − 1 below; nil for fewer than two values.
    static func standardDeviation(_ values: [Double]) -> Double? {
        guard values.count > 1, let mean = mean(values) else { return nil }
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
    }

    /// Standard deviation of the daily log returns, times the root of 252. Nil for fewer than three closes.
    static func annualisedVolatility(_ closes: [Double]) -> Double? {
        standardDeviation(logReturns(closes)).map { $0 * yearDays.squareRoot() }
    }

    struct Drawdown: Hashable {
        /// Share of the peak that was lost, 0 to 1.
        var depth: Double
        var peak: Int
        var trough: Int
    }

    /// The deepest fall from a peak to a later close; zero depth where prices never fell. Nil without closes.
    static func maxDrawdown(_ closes: [Double]) -> Drawdown? {
        guard !closes.isEmpty else { return nil }
        var deepest = Drawdown(depth: 0, peak: 0, trough: 0)
        var peak = 0
        for (index, close) in closes.enumerated() {
            if close > closes[peak] { peak = index }
            let depth = 1 - close / closes[peak]
            if depth > deepest.depth { deepest = Drawdown(depth: depth, peak: peak, trough: index) }
        }
        return deepest
    }

    struct Trend: Hashable {
        /// Growth per year that the fitted line amounts to: 0.1 is 10 %.
        var yearly: Double
        /// Share of the variation that the line explains, 0 to 1.
        var fit: Double
    }

    /// Least squares through the logarithms of the closes. Nil for fewer than three.
    static func trend(_ closes: [Double]) -> Trend? {
        guard closes.count > 2 else { return nil }
        let values = closes.map { log($0) }
        let count = Double(values.count)
        let middle = (count - 1) / 2
        let mean = values.reduce(0, +) / count
        var covariance = 0.0
        var spreadOfDays = 0.0
        var spread = 0.0
        for (day, value) in values.enumerated() {
            let offset = Double(day) - middle
            covariance += offset * (value - mean)
            spreadOfDays += offset * offset
            spread += (value - mean) * (value - mean)
        }
        let slope = covariance / spreadOfDays
        // Prices that do not move are explained by any level line.
        let fit = spread < 1e-18 ? 1 : covariance * covariance / (spreadOfDays * spread)
        return Trend(yearly: exp(slope * yearDays) - 1, fit: fit)
    }

    /// The daily loss that was exceeded on a share `1 − level` of days, as a positive number. Nil for fewer than 20 returns.
    ///
    /// By historical simulation: the empirical quantile of the simple returns, linearly interpolated.
    static func valueAtRisk(_ closes: [Double], level: Double) -> Double? {
        let returns = zip(closes.dropFirst(), closes).map { $0 / $1 - 1 }.sorted()
        guard returns.count >= 20 else { return nil }
        return max(0, -quantile(sorted: returns, 1 - level))
    }

    private static func quantile(sorted values: [Double], _ share: Double) -> Double {
        let position = share * Double(values.count - 1)
        let below = Int(position)
        guard below + 1 < values.count else { return values[values.count - 1] }
        return values[below] + (values[below + 1] - values[below]) * (position - Double(below))
    }

    /// Growth over the value before it; nil when that was not above zero.
    static func growth(_ now: Double, since before: Double) -> Double? {
        before > 0 ? now / before - 1 : nil
    }

    /// A part of revenue; nil without revenue.
    static func margin(_ part: Double, of revenue: Double) -> Double? {
        revenue > 0 ? part / revenue : nil
    }
}
