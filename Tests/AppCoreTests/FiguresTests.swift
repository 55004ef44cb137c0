import Testing

@testable import AppCore

struct `The figures` {
    private func near(_ value: Double?, _ expected: Double, _ tolerance: Double = 1e-9) -> Bool {
        value.map { abs($0 - expected) <= tolerance } ?? false
    }

    @Test func `change looks back as far as there are days`() {
        #expect(near(Figures.change([100, 110, 121], days: 1), 0.1))
        #expect(near(Figures.change([100, 110, 121], days: 2), 0.21))
        #expect(near(Figures.change([100, 110, 121], days: 99), 0.21))
        #expect(Figures.change([100], days: 1) == nil)
    }

    @Test func `volatility is zero without movement and annual otherwise`() {
        #expect(Figures.annualisedVolatility([5, 5, 5, 5]) == 0)
        // Log returns +ln 1.1, -ln 1.1 in turn: standard deviation of the four is ln 1.1 · √(4/3).
        #expect(near(Figures.annualisedVolatility([10, 11, 10, 11, 10]), 0.0953101798043 * (4.0 / 3).squareRoot() * 252.0.squareRoot(), 1e-9))
        #expect(Figures.annualisedVolatility([1, 2]) == nil)
    }

    @Test(arguments: [
        ([1.0, 2, 3], Figures.Drawdown(depth: 0, peak: 0, trough: 0)),
        ([4, 2, 3], Figures.Drawdown(depth: 0.5, peak: 0, trough: 1)),
        ([1, 10, 5, 12, 3, 20], Figures.Drawdown(depth: 0.75, peak: 3, trough: 4)),
    ])
    func `the deepest fall is measured from the peak before it`(closes: [Double], expected: Figures.Drawdown) {
        #expect(Figures.maxDrawdown(closes) == expected)
    }

    @Test func `the trend of steady growth is that growth, and explains all of it`() throws {
        let daily = 0.001
        let closes = (0..<100).map { day in (0..<day).reduce(50.0) { price, _ in price * (1 + daily) } }
        let trend = try #require(Figures.trend(closes))
        var year = 1.0
        for _ in 0..<252 { year *= 1 + daily }
        #expect(near(trend.yearly, year - 1, 1e-6) && near(trend.fit, 1, 1e-9))
        #expect(Figures.trend([7, 7, 7])?.yearly == 0)
        #expect(Figures.trend([1, 2]) == nil)
    }

    @Test func `value at risk is the loss one day in twenty exceeds`() {
        // 100 returns: five of -10 %, the others 0.
        var closes = [100.0]
        for day in 0..<100 { closes.append(closes[day] * (day % 20 == 0 ? 0.9 : 1)) }
        #expect(near(Figures.valueAtRisk(closes, level: 0.99), 0.1, 1e-9))
        #expect(near(Figures.valueAtRisk(closes, level: 0.90), 0, 1e-9))
        #expect(Figures.valueAtRisk([1, 2, 3], level: 0.95) == nil)
    }

    @Test func `shares of nothing are unknown, not zero`() {
        #expect(Figures.growth(5, since: 0) == nil && Figures.margin(5, of: 0) == nil)
        #expect(Figures.growth(6, since: 4) == 0.5 && Figures.margin(1, of: 4) == 0.25)
        #expect(JSONValue.rounded(.nan) == .null)
    }
}

struct `Task conclusions` {
    @Test(arguments: [
        ("Revenue will grow and margins rise.", ThesisValidation.Direction.up), ("Overvalued; we expect the price to fall.", .down), ("", .up),
        ("short term noise, but growth", .up),
    ])
    func `a thesis has a direction`(text: String, direction: ThesisValidation.Direction) {
        #expect(ThesisValidation.direction(of: text) == direction)
    }

    @Test(arguments: [
        (ThesisValidation.Direction.up, [0.1, 0.2, 0.3], "supported"), (.up, [0.1, 0.2, -0.3], "supported"), (.up, [-0.1, -0.2, 0.3], "contradicted"),
        (.down, [-0.1, -0.2, -0.3], "supported"), (.up, [0.1, -0.2], "undecided"), (.up, [], "undecided"),
    ])
    func `evidence decides by two thirds`(direction: ThesisValidation.Direction, evidence: [Double], word: String) {
        let verdict = ThesisValidation.verdict(direction: direction, evidence: evidence, fit: 0.5)
        #expect(verdict.word == word && (0...1).contains(verdict.confidence))
    }

    @Test(arguments: [
        (0.1 as Double?, 0.1 as Double?, nil as Double?, "low"), (0.3, 0.25, 0.4, "moderate"), (0.9, 0.8, 0.8, "high"), (nil, nil, nil, "unknown"),
    ])
    func `risk is rated by what is known`(volatility: Double?, drawdown: Double?, debt: Double?, word: String) {
        #expect(RiskAssessment.rating(volatility: volatility, drawdown: drawdown, debtToAssets: debt).word == word)
    }

    @Test(arguments: [
        (0.1 as Double?, 0.01 as Double?, "improving"), (-0.1, -0.01, "deteriorating"), (0.1, -0.01, "mixed"), (nil, 0.1, "unknown"), (0.1, nil, "improving"),
    ])
    func `an outlook weighs growth and margin`(growth: Double?, margin: Double?, outlook: String) {
        #expect(EarningsAnalysis.outlook(growth: growth, marginChange: margin) == outlook)
    }
}
