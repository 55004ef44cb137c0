#if canImport(Glibc)
    import Glibc
#endif
import Vitals

/// Made-up companies with lives of their own: a random walk of prices, and quarters that grow or shrink.
struct SeedMarket {
    struct Company {
        var ticker: String
        /// Yearly.
        var drift: Double
        /// Yearly.
        var volatility: Double
        var firstPrice: Double
        var dailyVolume: Double
        var shares: Double
    }

    private static let known = ["ACME", "GLBX", "HOLI", "INIT", "UMBR", "STRK", "WAYN", "CYBD", "TYRL", "SOYL", "VNDL", "OSCP"]

    let companies: [Company]

    init(count: Int, using generator: inout SplitMix64) {
        var taken: Set<String> = []
        companies = (0..<count).map { rank in
            var ticker = rank < Self.known.count ? Self.known[rank] : ""
            while ticker.isEmpty || !taken.insert(ticker).inserted {
                ticker = String((0..<4).map { _ in Character(Unicode.Scalar(UInt8(65 + generator.index(below: 26)))) })
            }
            return Company(
                ticker: ticker, drift: generator.uniform(-0.15, 0.3), volatility: generator.uniform(0.15, 0.6),
                firstPrice: exp(generator.uniform(log(8), log(400))),
                dailyVolume: exp(generator.normal() * 0.7) * 4e6 / Double(rank + 1).squareRoot(), shares: exp(generator.uniform(log(5e7), log(4e9))))
        }
    }

    /// The last `count` weekdays up to and including the day of `end`, oldest first, as `2026-11-24`.
    static func tradingDays(_ count: Int, upTo end: WallTime) -> [String] {
        var day = end.microsecondsSince1970 / 86_400_000_000
        var days: [String] = []
        while days.count < count {
            // The first day of 1970 was a Thursday.
            if ![0, 6].contains((day + 4) % 7) { days.append(date(day)) }
            day -= 1
        }
        return days.reversed()
    }

    /// The last days of the last `count` quarters before `end`, oldest first; every 91 days is near enough.
    static func quarters(_ count: Int, upTo end: WallTime) -> [String] {
        let last = end.microsecondsSince1970 / 86_400_000_000 - 20
        return (0..<count).map { date(last - Int64(count - 1 - $0) * 91) }
    }

    private static func date(_ day: Int64) -> String {
        String(WallTime(microsecondsSince1970: day * 86_400_000_000).rfc3339.prefix(10))
    }

    /// Geometric Brownian motion, one step a trading day, with a day's range around open and close.
    static func prices(of company: Company, days: [String], using generator: inout SplitMix64) -> [MarketDay] {
        let step = 1 / Figures.yearDays
        let drift = (company.drift - company.volatility * company.volatility / 2) * step
        let deviation = company.volatility * step.squareRoot()
        var close = company.firstPrice
        return days.map { day in
            let open = max(0.05, close * exp(deviation * 0.3 * generator.normal()))
            close = max(0.05, close * exp(drift + deviation * generator.normal()))
            let high = max(open, close) * (1 + abs(generator.normal()) * deviation * 0.4)
            let low = max(0.01, min(open, close) * (1 - min(0.5, abs(generator.normal()) * deviation * 0.4)))
            // More is traded on days that move.
            let volume = company.dailyVolume * exp(generator.normal() * 0.3) * (1 + 8 * abs(close / open - 1))
            return MarketDay(
                ticker: company.ticker, date: day, open: cents(open), high: max(cents(high), cents(open), cents(close)),
                low: min(cents(low), cents(open), cents(close)), close: cents(close), volume: Int(volume))
        }
    }

    private static func cents(_ price: Double) -> Double { max(0.01, (price * 100).rounded() / 100) }

    static func statements(of company: Company, quarters: [String], using generator: inout SplitMix64) -> [FinancialStatement] {
        let size = company.firstPrice * company.shares
        var revenue = size * generator.uniform(0.03, 0.15)
        let grossMargin = generator.uniform(0.25, 0.75)
        let operatingShare = generator.uniform(0.15, 0.55)
        let debt = generator.uniform(0.05, 0.6)
        return quarters.map { day in
            revenue *= 1 + company.drift / 4 + generator.normal() * 0.04
            let gross = revenue * min(0.95, max(0.05, grossMargin + generator.normal() * 0.015))
            let operating = gross * (operatingShare + generator.normal() * 0.03) - revenue * 0.02
            let assets = size * generator.uniform(0.4, 0.45)
            return FinancialStatement(
                periodEnd: day, revenue: revenue.rounded(), grossProfit: gross.rounded(), operatingIncome: operating.rounded(),
                netIncome: (operating * 0.78).rounded(), totalAssets: assets.rounded(), totalDebt: (assets * debt).rounded(),
                shares: company.shares.rounded())
        }
    }
}
