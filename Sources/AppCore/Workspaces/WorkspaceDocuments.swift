import Vitals

// What WorkspaceStore reads, as it is answered: bounded in bytes, and passed on unread.

extension WorkspaceStore {
    /// Workspaces, most recently used first, of one user or of all: `{"workspaces":[…],"next":"…"}`.
    public func page(user: WorkspaceUser.ID? = nil, limit: Int = 50, before: PageCursor? = nil) async throws -> JSONDocument {
        let whose: SQL = if let user { "user_id = \(user)" } else { "TRUE" }
        let rows = try await RowPage.workspaces.rows(database, where: whose, limit: limit, before: before, for: "workspace.list")
        return try RowPage.workspaces.told(rows, as: "workspaces")
    }

    /// Newest first, of one type when it is given: `{"snapshots":[…],"next":"…"}`.
    public func snapshotPage(
        _ id: Workspace.ID, type: String? = nil, limit: Int = 50, before: PageCursor? = nil
    ) async throws -> JSONDocument {
        let which: SQL = if let type { "snapshot_type = \(type)" } else { "TRUE" }
        return try await noticingAbsence(of: id) {
            let rows = try await RowPage.snapshots.rows(database, of: id, where: which, limit: limit, before: before, for: "workspace.snapshots")
            return try RowPage.snapshots.told(rows, as: "snapshots")
        }
    }

    /// Newest first: `{"auditLogs":[…],"next":"…"}`.
    public func auditLogPage(_ id: Workspace.ID, limit: Int = 50, before: PageCursor? = nil) async throws -> JSONDocument {
        try await noticingAbsence(of: id) {
            let rows = try await RowPage.auditLogs.rows(database, of: id, limit: limit, before: before, for: "workspace.audit-logs")
            return try RowPage.auditLogs.told(rows, as: "auditLogs")
        }
    }

    /// Stores a snapshot, and answers it as it is stored.
    public func addSnapshotDocument(_ id: Workspace.ID, _ new: SentDataSnapshot) async throws -> JSONDocument {
        try await noticingAbsence(of: id) { try await insertedSnapshot(id, new) }
    }

    private func insertedSnapshot(_ id: Workspace.ID, _ new: SentDataSnapshot) async throws -> JSONDocument {
        do {
            return try await namingMigrations {
                let rows = try await database.query(
                    """
                    WITH made AS (
                        INSERT INTO workspace_data_snapshots (workspace_id, snapshot_type, payload)
                        VALUES (\(id), \(new.type), \(new.payload)) RETURNING \(unescaped: DataSnapshot.columns))
                    \(unescaped: RowDocument.snapshot.select(values: .full, from: "made"))
                    """, for: "workspace.snapshot.add")
                guard let row = rows.first else { throw RequestProblem.notFound(what: "workspace \(id)") }
                return try RowDocument.snapshot.told(row)
            }
        } catch let error as PostgresError where error.sqlState == "23503" {
            throw RequestProblem.notFound(what: "workspace \(id)")
        }
    }

    /// Newest first: `{"days":[…],"ticker":"…"}`.
    ///
    /// - Throws: `RequestProblem.notFound` for a ticker without a single day.
    public func marketHistoryDocument(_ ticker: String, limit: Int = 252) async throws -> JSONDocument {
        try Ticker.validate(ticker)
        try RequestProblem.limit(limit, in: 1...5_000)
        let days = try await namingMigrations {
            try await database.query(
                "SELECT \(unescaped: MarketDay.columns) FROM market_snapshots WHERE ticker = \(ticker) ORDER BY snapshot_date DESC LIMIT \(limit)",
                for: "market.history")
        }
        guard !days.isEmpty else { throw RequestProblem.notFound(what: "market data for \(ticker)") }
        var bytes = Array("{\"days\":".utf8)
        try RowDocument.marketDay.append(all: days, to: &bytes)
        bytes += ",\"ticker\":".utf8
        JSONValue.appendQuoted(ticker, to: &bytes)
        bytes += "}".utf8
        return JSONDocument(bytes)
    }
}
