/// How much the workspace's share moves, how far it fell, and what a bad day costs.
struct RiskAssessment: TaskHandler {
    let type = "risk-assessment"

    let steps = [
        TaskHandlers.loadMarket,
        TaskStep("measure-volatility") { _, findings in
            findings.figures["volatility"] = figure(Figures.annualisedVolatility(findings.closes))
            findings.figures["volatilityQuarter"] = figure(Figures.annualisedVolatility(findings.closes.suffix(64)))
        },
        TaskStep("measure-drawdown") { _, findings in
            guard let drawdown = Figures.maxDrawdown(findings.closes) else { return }
            findings.figures["maxDrawdown"] = figure(drawdown.depth)
            findings.figures["peak"] = .string(findings.days[drawdown.peak].date)
            findings.figures["trough"] = .string(findings.days[drawdown.trough].date)
            findings.figures["belowPeak"] = figure(findings.closes.max().flatMap { peak in findings.closes.last.map { 1 - $0 / peak } })
        },
        TaskStep("measure-losses") { _, findings in
            findings.figures["valueAtRisk95"] = figure(Figures.valueAtRisk(findings.closes, level: 0.95))
            findings.figures["valueAtRisk99"] = figure(Figures.valueAtRisk(findings.closes, level: 0.99))
        },
        TaskStep("weigh-leverage") { data, findings in
            guard let ticker = findings.workspace?.ticker else { return }
            findings.statements = try await data.statements(of: ticker)
            guard let latest = findings.statements.first else { return }
            findings.figures["debtToAssets"] = figure(Figures.margin(latest.totalDebt, of: latest.totalAssets))
        },
        TaskStep("rate") { _, findings in
            let rating = Self.rating(
                volatility: findings.figures["volatility"]?.doubleValue, drawdown: findings.figures["maxDrawdown"]?.doubleValue,
                debtToAssets: findings.figures["debtToAssets"]?.doubleValue)
            findings.figures["score"] = .rounded(rating.score, 3)
            findings.figures["rating"] = .string(rating.word)
            findings.summary = """
                \(findings.workspace?.ticker ?? ""): risk \(rating.word); volatility \(percent(findings.figures["volatility"]?.doubleValue)) a year, \
                deepest fall \(percent(findings.figures["maxDrawdown"]?.doubleValue)), \
                1 day in 20 loses more than \(percent(findings.figures["valueAtRisk95"]?.doubleValue))
                """
        },
    ]

    /// The mean of what is known, each on a scale where 1 is a stormy share: 60 % volatility, a fall by half, debt of 80 % of assets.
    static func rating(volatility: Double?, drawdown: Double?, debtToAssets: Double?) -> (score: Double, word: String) {
        let parts = [volatility.map { $0 / 0.6 }, drawdown.map { $0 / 0.5 }, debtToAssets.map { $0 / 0.8 }].compactMap { $0 }.map { min(1, max(0, $0)) }
        guard let score = Figures.mean(parts) else { return (0, "unknown") }
        return (score, score < 0.35 ? "low" : score < 0.6 ? "moderate" : "high")
    }
}
