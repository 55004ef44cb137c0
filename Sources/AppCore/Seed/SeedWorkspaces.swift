import Vitals

/// The workspaces of a seed, and who owns them.
struct SeedWorkspaces {
    struct Entry {
        var user: WorkspaceUser.ID
        var ticker: String
        var name: String
        var status: String
        var thesis: String
        var createdAt: WallTime
        var accessedAt: WallTime
    }

    let all: [Entry]

    init(
        scale: Seed.Scale, users: [WorkspaceUser.ID], companies: [SeedMarket.Company], end: WallTime, using generator: inout SplitMix64
    ) {
        let owners = Zipf(count: users.count)
        let shares = Zipf(count: companies.count)
        all = (0..<scale.workspaces).map { number in
            let company = companies[shares.draw(using: &generator)]
            let age = generator.uniform(1, 700)
            let draw = generator.unit()
            return Entry(
                user: users[owners.draw(using: &generator)], ticker: company.ticker,
                name: "\(company.ticker) \(Self.topics[generator.index(below: Self.topics.count)]) \(number + 1)",
                status: draw < 0.85 ? "active" : draw < 0.95 ? "paused" : "archived", thesis: Self.thesis(company, using: &generator),
                createdAt: end + .seconds(-age * 86_400),
                // Most were looked at lately.
                accessedAt: end + .seconds(-age * generator.unit() * generator.unit() * generator.unit() * 86_400))
        }
    }

    private static let topics = ["core thesis", "earnings watch", "risk review", "turnaround", "growth case", "pair trade", "hedge"]

    private static func thesis(_ company: SeedMarket.Company, using generator: inout SplitMix64) -> String {
        let target = Int((abs(company.drift) + generator.uniform(0.02, 0.2)) * 100)
        return switch generator.index(below: 4) {
        case 0: "\(company.ticker) will grow revenue by \(target) % a year as its market expands."
        case 1: "\(company.ticker) is undervalued: margins rise while the price has not followed; \(target) % upside."
        case 2: "\(company.ticker) is overvalued; we expect the price to fall by \(target) % as growth slows."
        default: "\(company.ticker) keeps its place; buy below the quarter's mean, hold for \(target) %."
        }
    }

    /// The database numbers them, in their order.
    func statement(_ range: Range<Int>) -> SQL {
        let rows = all[range]
        return """
            INSERT INTO workflows (user_id, name, ticker, status, thesis, created_at, updated_at, last_accessed_at)
            SELECT owner, name, ticker, status, thesis, created, created, accessed FROM unnest(
                \(rows.map(\.user))::uuid[], \(rows.map(\.name))::text[], \(rows.map(\.ticker))::text[], \(rows.map(\.status))::text[],
                \(rows.map(\.thesis))::text[], \(rows.map(\.createdAt))::timestamptz[], \(rows.map(\.accessedAt))::timestamptz[])
                WITH ORDINALITY AS seed (owner, name, ticker, status, thesis, created, accessed, place)
            ORDER BY place RETURNING id
            """
    }
}

/// What has gathered in workspaces: much in a few, little in most.
struct SeedHistory {
    private let workspaces: [SeedWorkspaces.Entry]
    /// Of each of them.
    private let ids: [Workspace.ID]
    private let end: WallTime
    private let hot: Zipf

    init(workspaces: [SeedWorkspaces.Entry], ids: [Workspace.ID], end: WallTime) {
        precondition(ids.count == workspaces.count, "every workspace has a number")
        self.workspaces = workspaces
        self.ids = ids
        self.end = end
        hot = Zipf(count: workspaces.count)
    }

    private static let snapshotTypes = ["market-context", "news-sentiment", "valuation", "position", "peer-comparison"]
    private static let actions = ["thesis.reviewed", "data.refreshed", "alert.raised", "note.written", "position.sized"]

    private func moment(in workspace: SeedWorkspaces.Entry, using generator: inout SplitMix64) -> WallTime {
        workspace.createdAt + (end - workspace.createdAt) * generator.unit()
    }

    func snapshots(_ range: Range<Int>, using generator: inout SplitMix64) -> SQL {
        var owners: [Workspace.ID] = []
        var types: [String] = []
        var payloads: [String] = []
        var times: [WallTime] = []
        for number in range {
            // Each workspace has at least one; the rest falls where it falls.
            let index = number < workspaces.count ? number : hot.draw(using: &generator)
            let workspace = workspaces[index]
            owners.append(ids[index])
            types.append(Self.snapshotTypes[generator.index(below: Self.snapshotTypes.count)])
            let payload: JSONValue = [
                "ticker": .string(workspace.ticker), "score": .rounded(generator.uniform(-1, 1), 3),
                "confidence": .rounded(generator.unit(), 3), "fairValue": .rounded(generator.uniform(5, 500), 2),
                "sources": .integer(1 + generator.index(below: 12)),
            ]
            payloads.append(payload.text)
            times.append(moment(in: workspace, using: &generator))
        }
        return """
            INSERT INTO workspace_data_snapshots (workspace_id, snapshot_type, payload, created_at)
            SELECT owner, kind, payload, at
            FROM unnest(\(owners)::bigint[], \(types)::text[], \(payloads)::jsonb[], \(times)::timestamptz[]) AS s (owner, kind, payload, at)
            """
    }

    func auditLogs(_ range: Range<Int>, using generator: inout SplitMix64) -> SQL {
        var owners: [Workspace.ID] = []
        var actions: [String] = []
        var summaries: [String] = []
        var times: [WallTime] = []
        for _ in range {
            let index = hot.draw(using: &generator)
            let workspace = workspaces[index]
            let action = Self.actions[generator.index(below: Self.actions.count)]
            owners.append(ids[index])
            actions.append(action)
            summaries.append("\(action) for \(workspace.ticker): \(1 + generator.index(below: 40)) items, \(Int(generator.uniform(200, 9_000))) tokens")
            times.append(moment(in: workspace, using: &generator))
        }
        return """
            INSERT INTO ai_audit_logs (workspace_id, action, summary, created_at)
            SELECT owner, action, summary, at
            FROM unnest(\(owners)::bigint[], \(actions)::text[], \(summaries)::text[], \(times)::timestamptz[]) AS l (owner, action, summary, at)
            """
    }
}
