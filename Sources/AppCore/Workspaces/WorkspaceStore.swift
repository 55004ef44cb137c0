import FoundationEssentials
public import Logging
public import Vitals

/// Workspaces and what is known about them. Single workspaces come from the cache when it has them.
///
/// Every call takes at most one connection at a time and says why in its purpose. A missing table becomes a `SchemaError`.
public struct WorkspaceStore: Sendable {
    let database: Database
    private let cache: TieredCache
    private let visits: Visits
    private let unreadable: UnreadableRows

    public init(
        database: Database, cache: TieredCache, unreadable: UnreadableRows = UnreadableRows(), time: any TimeSource = SystemTime(),
        logger: Logger = Logger(label: "workspaces")
    ) {
        self.database = database
        self.cache = cache
        self.unreadable = unreadable
        visits = Visits(database: database, time: time, logger: logger)
    }

    /// Writes down who was visited, until cancelled. Without it all else works.
    public func run() async { await visits.run() }

    static func cacheKey(_ id: Workspace.ID) -> String { "workspace:\(id)" }

    // MARK: Workspaces

    /// Most recently used first, of one user or of all.
    public func list(user: WorkspaceUser.ID? = nil, limit: Int = 50) async throws -> [Workspace] {
        try RequestProblem.limit(limit, in: 1...500)
        let whose: SQL =
            if let user {
                "SELECT \(unescaped: Workspace.columns) FROM workflows WHERE user_id = \(user) ORDER BY last_accessed_at DESC LIMIT \(limit)"
            } else {
                "SELECT \(unescaped: Workspace.columns) FROM workflows ORDER BY last_accessed_at DESC LIMIT \(limit)"
            }
        return try await namingMigrations {
            try await database.query(whose, for: "workspace.list").readable(of: "workflows", unreadable, Workspace.init)
        }
    }

    /// Whoever reads after this returns sees it, also where its number was another's before.
    public func create(_ new: NewWorkspace) async throws -> Workspace {
        try new.validate()
        let began = cache.time.now()
        let made = try await insert(new)
        await cache.storeNew(made, for: Self.cacheKey(made.id), asked: began)
        return made
    }

    private func insert(_ new: NewWorkspace) async throws -> Workspace {
        let statement: SQL =
            if let user = new.userID {
                """
                INSERT INTO workflows (user_id, name, ticker, thesis) VALUES (\(user), \(new.name), \(new.ticker), \(new.thesis))
                RETURNING \(unescaped: Workspace.columns)
                """
            } else {
                """
                WITH local AS (
                    INSERT INTO workflow_users (email, name) VALUES (\(WorkspaceUser.local.email), \(WorkspaceUser.local.name))
                    ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING id)
                INSERT INTO workflows (user_id, name, ticker, thesis)
                SELECT id, \(new.name), \(new.ticker), \(new.thesis) FROM local RETURNING \(unescaped: Workspace.columns)
                """
            }
        do {
            return try await namingMigrations {
                guard let row = try await database.query(statement, for: "workspace.create").first else { throw RequestProblem.notFound(what: "user") }
                return try Workspace(row)
            }
        } catch let error as PostgresError where error.sqlState == "23503" {
            throw RequestProblem.invalid(field: "userId", reason: "names a user that does not exist")
        }
    }

    /// From the cache if it has it.
    ///
    /// - Throws: `RequestProblem.notFound`; when there is neither a cached value nor a database, what kept us from it.
    public func find(_ id: Workspace.ID) async throws -> Workspace { try await lookUp(id).value }

    /// The same, with where it came from and how old it is.
    public func lookUp(_ id: Workspace.ID) async throws -> CacheAnswer<Workspace> {
        try await cache.value(for: Self.cacheKey(id), as: Workspace.self) { try await read(id) }
    }

    /// The newest version of a workspace that somebody may have seen here; nil when none is known.
    public func newestVersion(of id: Workspace.ID) -> Int? { cache.newestVersion(for: Self.cacheKey(id)) }

    private func read(_ id: Workspace.ID) async throws -> Workspace {
        try await namingMigrations { try await Self.workspace(id, in: database.query(Self.row(of: id), for: "workspace.find")) }
    }

    private static func row(of id: Workspace.ID) -> SQL { "SELECT \(unescaped: Workspace.columns) FROM workflows WHERE id = \(id)" }

    private static func workspace(_ id: Workspace.ID, in rows: Rows) throws -> Workspace {
        guard let row = rows.first else { throw RequestProblem.notFound(what: "workspace \(id)") }
        return try Workspace(row)
    }

    /// Changes what the patch names. Whoever reads after this returns sees it, on whichever path.
    public func update(_ id: Workspace.ID, _ patch: WorkspacePatch) async throws -> Workspace {
        try patch.validate()
        return try await cache.writing(Self.cacheKey(id)) {
            try await namingMigrations {
                let rows = try await database.query(
                    """
                    UPDATE workflows SET
                        name = coalesce(\(patch.name), name), ticker = coalesce(\(patch.ticker), ticker),
                        status = coalesce(\(patch.status?.rawValue), status), thesis = coalesce(\(patch.thesis), thesis),
                        version = version + 1, updated_at = now()
                    WHERE id = \(id) RETURNING \(unescaped: Workspace.columns)
                    """, for: "workspace.update")
                return try Self.workspace(id, in: rows)
            }
        }
    }

    /// The same, told as far as its row can be: what cannot be read stands in `omitted`, as in lists. The write has been done all the same.
    public func updateDocument(_ id: Workspace.ID, _ patch: WorkspacePatch) async throws -> JSONDocument {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            let workspace = try await update(id, patch)
            return JSONDocument(Array(try encoder.encode(workspace)))
        } catch PostgresError.decoding {
            return try await noticingAbsence(of: id) {
                try await namingMigrations {
                    let rows = try await database.query("\(unescaped: RowDocument.workspace.select(values: .full)) WHERE t.id = \(id)", for: "workspace.update")
                    guard let row = rows.first else { throw RequestProblem.notFound(what: "workspace \(id)") }
                    return try RowDocument.workspace.told(row)
                }
            }
        }
    }

    /// Somebody has asked the database, and there is no such workspace: the cache has none either.
    public func foundGone(_ id: Workspace.ID) async { await cache.forget(Self.cacheKey(id)) }

    /// Around what finds out by itself whether the workspace is there.
    func noticingAbsence<Result>(of id: Workspace.ID, _ body: () async throws -> Result) async throws -> Result {
        do {
            return try await body()
        } catch let problem as RequestProblem {
            if case .notFound = problem { await foundGone(id) }
            throw problem
        }
    }

    // MARK: One workspace's data

    /// All that the first screen of a workspace shows, in one round trip.
    public func overview(_ id: Workspace.ID) async throws -> JSONDocument {
        try await noticingAbsence(of: id) {
            try await namingMigrations {
                try await database.withConnection(for: "workspace.overview") { lease in
                    let overview = try WorkspaceOverview(id, try await lease.batch(WorkspaceOverview.statements(for: id)), unreadable)
                    if overview.isVisitToBeNoted { visits.note(id) }
                    return overview.document
                }
            }
        }
    }

    /// Newest first.
    ///
    /// - Throws: `RequestProblem.notFound` for a ticker without a single day.
    public func marketHistory(_ ticker: String, limit: Int = 252) async throws -> [MarketDay] {
        try Ticker.validate(ticker)
        try RequestProblem.limit(limit, in: 1...5_000)
        let days = try await namingMigrations {
            try await database.query(
                "SELECT \(unescaped: MarketDay.columns) FROM market_snapshots WHERE ticker = \(ticker) ORDER BY snapshot_date DESC LIMIT \(limit)",
                for: "market.history"
            ).readable(of: "market_snapshots", unreadable, MarketDay.init)
        }
        guard !days.isEmpty else { throw RequestProblem.notFound(what: "market data for \(ticker)") }
        return days
    }
}
