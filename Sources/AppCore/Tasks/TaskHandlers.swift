/// The kinds of work this program knows.
public enum TaskHandlers {
    public static let all: [any TaskHandler] = [ThesisValidation(), EarningsAnalysis(), RiskAssessment()]

    static let loadMarket = TaskStep("load-market") { data, findings in
        let workspace = try await data.workspace()
        findings.workspace = workspace
        findings.days = try await data.days(of: workspace.ticker)
        findings.figures["ticker"] = .string(workspace.ticker)
        findings.figures["days"] = .integer(findings.days.count)
        findings.figures["from"] = findings.days.first.map { .string($0.date) }
        findings.figures["to"] = findings.days.last.map { .string($0.date) }
    }
}

func percent(_ share: Double?) -> String {
    guard let share, share.isFinite else { return "unknown" }
    return "\((share * 1_000).rounded() / 10) %"
}

func figure(_ value: Double?) -> JSONValue {
    value.map { .rounded($0) } ?? .null
}
