/// How revenue grows, what is left of it, and what it is worth in the market.
struct EarningsAnalysis: TaskHandler {
    let type = "earnings-analysis"

    let steps = [
        TaskStep("load-statements") { data, findings in
            let workspace = try await data.workspace()
            findings.workspace = workspace
            findings.statements = try await data.statements(of: workspace.ticker)
            guard findings.statements.count >= 2 else {
                throw TaskFailure(
                    "earnings-analysis needs at least 2 statements of \(workspace.ticker), found \(findings.statements.count) in financial_statements")
            }
            findings.figures["ticker"] = .string(workspace.ticker)
            findings.figures["statements"] = .integer(findings.statements.count)
            findings.figures["periodEnd"] = .string(findings.statements[0].periodEnd)
        },
        TaskStep("measure-growth") { _, findings in
            let statements = findings.statements
            findings.figures["revenue"] = figure(statements[0].revenue)
            findings.figures["revenueGrowthQuarter"] = figure(Figures.growth(statements[0].revenue, since: statements[1].revenue))
            if statements.count > 4 {
                findings.figures["revenueGrowthYear"] = figure(Figures.growth(statements[0].revenue, since: statements[4].revenue))
                findings.figures["netIncomeGrowthYear"] = figure(Figures.growth(statements[0].netIncome, since: statements[4].netIncome))
            }
        },
        TaskStep("measure-margins") { _, findings in
            let latest = findings.statements[0]
            findings.figures["grossMargin"] = figure(Figures.margin(latest.grossProfit, of: latest.revenue))
            findings.figures["operatingMargin"] = figure(Figures.margin(latest.operatingIncome, of: latest.revenue))
            findings.figures["netMargin"] = figure(Figures.margin(latest.netIncome, of: latest.revenue))
            let before = findings.statements[1]
            if let now = Figures.margin(latest.operatingIncome, of: latest.revenue),
                let then = Figures.margin(before.operatingIncome, of: before.revenue)
            {
                findings.figures["operatingMarginChange"] = .rounded(now - then)
            }
        },
        TaskStep("measure-price") { data, findings in
            guard let ticker = findings.workspace?.ticker else { return }
            findings.days = try await data.days(of: ticker)
            let yearOfIncome = findings.statements.prefix(4).reduce(0) { $0 + $1.netIncome }
            let earningsPerShare = findings.statements.count >= 4 ? yearOfIncome / findings.statements[0].shares : nil
            findings.figures["earningsPerShareYear"] = figure(earningsPerShare)
            if let close = findings.closes.last, let earningsPerShare, earningsPerShare > 0 {
                findings.figures["priceToEarnings"] = .rounded(close / earningsPerShare, 2)
            }
            findings.figures["priceChangeQuarter"] = figure(Figures.change(findings.closes, days: 63))
        },
        TaskStep("conclude") { _, findings in
            let growth = (findings.figures["revenueGrowthYear"] ?? findings.figures["revenueGrowthQuarter"])?.doubleValue
            let margin = findings.figures["operatingMarginChange"]?.doubleValue
            let outlook = Self.outlook(growth: growth, marginChange: margin)
            findings.figures["outlook"] = .string(outlook)
            findings.summary = """
                \(findings.workspace?.ticker ?? ""): earnings \(outlook); revenue \(percent(growth)) over the period, \
                operating margin \(percent(findings.figures["operatingMargin"]?.doubleValue)) (change \(percent(margin)))
                """
        },
    ]

    /// Improving when both grow, deteriorating when both shrink, mixed between.
    static func outlook(growth: Double?, marginChange: Double?) -> String {
        switch (growth.map { $0 > 0 }, marginChange.map { $0 >= 0 }) {
        case (true?, true?), (true?, nil): "improving"
        case (false?, false?), (false?, nil): "deteriorating"
        case (nil, _): "unknown"
        default: "mixed"
        }
    }
}
