import TestServers
import Testing
import Vitals

@testable import AppCore

/// What the first screen of a workspace says, and the history of its ticker.
@Suite("Overview")
struct OverviewTests {
    /// Days with these closes, of which the last is the newest.
    private func newestFirst(_ closes: [Double]) -> [MarketDay] {
        closes.enumerated().map { number, close in
            MarketDay(ticker: "ACME", date: "day \(number)", open: 1, high: 1, low: 1, close: close, volume: 1)
        }.reversed()
    }

    @Test func `a quarter is told by its newest day, and by changes since the day before it and since 21 days before it`() throws {
        // At rest, and then thirty days that climb by one each.
        let quarter = Array(repeating: 100.0, count: 34) + (1...30).map { 100 + Double($0) }
        let market = try #require(MarketSummary(newestFirst: newestFirst(quarter)))
        #expect(market.ticker == "ACME" && market.date == "day 63" && market.close == 130 && market.days == 64)
        #expect(market.dayChange == 130.0 / 129 - 1)
        #expect(market.monthChange == 130.0 / 109 - 1)
    }

    @Test func `fewer days say less`() throws {
        let three = try #require(MarketSummary(newestFirst: newestFirst([100, 110, 121])))
        #expect(three.dayChange == 121.0 / 110 - 1 && three.monthChange == 121.0 / 100 - 1 && three.volatility == nil)
        let one = try #require(MarketSummary(newestFirst: newestFirst([100])))
        #expect(one.close == 100 && one.dayChange == nil && one.monthChange == nil)
        #expect(MarketSummary(newestFirst: newestFirst(Array(repeating: 5, count: 19)))?.volatility == nil)
        #expect(MarketSummary(newestFirst: newestFirst(Array(repeating: 5, count: 20)))?.volatility == 0)
        #expect(MarketSummary(newestFirst: []) == nil)
    }
}
