/// Whether prices and earnings since bear out what the workspace claims about a company.
struct ThesisValidation: TaskHandler {
    let type = "thesis-validation"

    let steps = [
        TaskHandlers.loadMarket,
        TaskStep("read-thesis") { data, findings in
            guard let workspace = findings.workspace else { return }
            let direction = Self.direction(of: workspace.thesis ?? "")
            findings.figures["thesis"] = workspace.thesis.map { .string(String($0.prefix(500))) } ?? .null
            findings.figures["direction"] = .string(direction.rawValue)
            let last = try await data.latestSnapshot("thesis-validation")
            findings.figures["previousVerdict"] = last?.payload["verdict"] ?? .null
        },
        TaskStep("measure-trend") { _, findings in
            let trend = Figures.trend(findings.closes)
            findings.figures["trendYearly"] = figure(trend?.yearly)
            findings.figures["trendFit"] = figure(trend?.fit)
            findings.figures["changeMonth"] = figure(Figures.change(findings.closes, days: 21))
            findings.figures["changeQuarter"] = figure(Figures.change(findings.closes, days: 63))
            findings.figures["changePeriod"] = figure(Figures.change(findings.closes, days: findings.closes.count))
        },
        TaskStep("measure-earnings") { data, findings in
            guard let ticker = findings.workspace?.ticker else { return }
            findings.statements = try await data.statements(of: ticker)
            guard findings.statements.count > 4 else { return }
            findings.figures["revenueGrowthYear"] = figure(Figures.growth(findings.statements[0].revenue, since: findings.statements[4].revenue))
        },
        TaskStep("weigh") { _, findings in
            let direction = findings.figures["direction"]?.stringValue.flatMap { Direction(rawValue: $0) } ?? .up
            let evidence = ["trendYearly", "changeQuarter", "revenueGrowthYear"].compactMap { name in
                findings.figures[name]?.doubleValue.map { (name, $0) }
            }
            let verdict = Self.verdict(direction: direction, evidence: evidence.map(\.1), fit: findings.figures["trendFit"]?.doubleValue ?? 0)
            findings.figures["verdict"] = .string(verdict.word)
            findings.figures["confidence"] = .rounded(verdict.confidence, 3)
            findings.figures["supporting"] = .array(evidence.filter { direction.agrees(with: $0.1) }.map { .string($0.0) })
            findings.figures["against"] = .array(evidence.filter { !direction.agrees(with: $0.1) }.map { .string($0.0) })
            findings.summary = """
                \(findings.workspace?.ticker ?? ""): thesis (\(direction.rawValue)) \(verdict.word); trend \
                \(percent(findings.figures["trendYearly"]?.doubleValue)) a year (fit \(percent(findings.figures["trendFit"]?.doubleValue))), \
                last quarter \(percent(findings.figures["changeQuarter"]?.doubleValue))
                """
        },
    ]

    /// Which way the thesis expects the share to go.
    enum Direction: String, Hashable {
        case up, down

        func agrees(with change: Double) -> Bool { self == .up ? change > 0 : change < 0 }
    }

    /// Down when the text speaks of falling more often than of rising; a thesis without a word for it is taken to expect growth.
    static func direction(of thesis: String) -> Direction {
        let words = thesis.lowercased().split { !$0.isLetter }
        let down: Set<Substring> = ["short", "fall", "falls", "falling", "decline", "declines", "declining", "overvalued", "bearish", "sell", "shrink", "shrinks", "shrinking", "down"]
        let up: Set<Substring> = ["long", "rise", "rises", "rising", "grow", "grows", "growing", "growth", "undervalued", "bullish", "buy", "expand", "expands", "up"]
        return words.count { down.contains($0) } > words.count { up.contains($0) } ? .down : .up
    }

    /// Supported or contradicted when at least two thirds of the evidence agree, undecided otherwise.
    ///
    /// Confidence: the agreeing share, weakened by half where the trend line explains nothing.
    static func verdict(direction: Direction, evidence: [Double], fit: Double) -> (word: String, confidence: Double) {
        guard !evidence.isEmpty else { return ("undecided", 0) }
        let agreeing = Double(evidence.count { direction.agrees(with: $0) }) / Double(evidence.count)
        let weight = 0.5 + 0.5 * min(1, max(0, fit))
        if agreeing >= 2.0 / 3 { return ("supported", agreeing * weight) }
        if agreeing <= 1.0 / 3 { return ("contradicted", (1 - agreeing) * weight) }
        return ("undecided", 0.5 * weight)
    }
}
