import AppCore
import HTTPTypes
import Hummingbird

/// Workspaces and their data. What is wrong with a request, and whether a thing exists, the store says.
///
/// Reads of one workspace and of the market go down the ladder when the database cannot be asked; the list of all does not.
func addWorkspaceRoutes(to routes: inout Routes, workspaces: WorkspaceStore, ladder: DegradeLadder) {
    routes.on(.get, "/api/workspaces", as: "workspaces") { request, _ in
        let user = try request.uri.queryParameters.get("userId").map { text in try WorkspaceUser.ID(text, field: "userId") }
        return try await .json(
            workspaces.page(user: user, limit: request.query("limit", in: 1...500, default: 50), before: request.pageCursor))
    }
    routes.on(.post, "/api/workspaces", as: "workspace_create") { request, _ in
        let workspace = try await workspaces.create(request.json(NewWorkspace.self))
        ladder.made("\(workspace.id)")
        return try .json(workspace, status: .created).locating("/api/workspaces/\(workspace.id)")
    }
    routes.on(.get, "/api/workspaces/{id}", as: "workspace") { _, context in
        let id = try context.workspaceID
        return try await ladder.answer("workspace") { try await workspaces.lookUp(id) }
    }
    routes.on(.patch, "/api/workspaces/{id}", as: "workspace_update") { request, context in
        let id = try context.workspaceID
        let patch = try await request.json(WorkspacePatch.self)
        return try await .json(ladder.writing(about: "\(id)") { try await workspaces.updateDocument(id, patch) })
    }
    routes.on(.get, "/api/workspaces/{id}/overview", as: "workspace_overview") { _, context in
        let id = try context.workspaceID
        let subject = DegradeLadder.Subject(key: "\(id)", writes: "\(id)") { workspaces.newestVersion(of: id) }
        return try await ladder.answer("workspace_overview", about: subject) { try await workspaces.overview(id) }
    }
    routes.on(.get, "/api/workspaces/{id}/snapshots", as: "workspace_snapshots") { request, context in
        let id = try context.workspaceID
        let type = request.uri.queryParameters.get("type")
        let limit = try request.query("limit", in: 1...500, default: 50)
        let before = try request.pageCursor
        let key = "\(id) \(limit) \(before.map { "\($0)" } ?? "") \(type.map { "=\($0)" } ?? "")"
        return try await ladder.answer("workspace_snapshots", about: .init(key: key, writes: "\(id)")) {
            try await workspaces.snapshotPage(id, type: type, limit: limit, before: before)
        }
    }
    routes.on(.post, "/api/workspaces/{id}/snapshots", as: "workspace_snapshot_create") { request, context in
        let id = try context.workspaceID
        let new = try SentDataSnapshot(body: try await request.jsonBody().readableBytesView)
        return try await .json(ladder.writing(about: "\(id)") { try await workspaces.addSnapshotDocument(id, new) }, status: .created)
    }
    routes.on(.get, "/api/workspaces/{id}/audit-logs", as: "workspace_audit_logs") { request, context in
        let id = try context.workspaceID
        let limit = try request.query("limit", in: 1...500, default: 50)
        let before = try request.pageCursor
        let key = "\(id) \(limit) \(before.map { "\($0)" } ?? "")"
        return try await ladder.answer("workspace_audit_logs", about: .init(key: key, writes: "\(id)")) {
            try await workspaces.auditLogPage(id, limit: limit, before: before)
        }
    }
    routes.on(.get, "/api/market/{ticker}/history", as: "market_history") { request, context in
        let ticker = try context.part("ticker")
        let limit = try request.query("limit", in: 1...5_000, default: 252)
        return try await ladder.answer("market_history", about: .init(key: "\(ticker) \(limit)")) {
            try await workspaces.marketHistoryDocument(ticker, limit: limit)
        }
    }
}

extension Request {
    /// Where the page begins that is asked for; nil is at the newest.
    var pageCursor: PageCursor? {
        get throws { try uri.queryParameters.get("before").map { text in try PageCursor(text) } }
    }
}

extension HTTPContext {
    var workspaceID: Workspace.ID {
        get throws { try Workspace.ID(part("id"), field: "workspace id") }
    }

    var taskID: AgentTask.ID {
        get throws { try AgentTask.ID(part("id"), field: "task id") }
    }
}

extension Response {
    /// Where the thing that was made is found.
    func locating(_ path: String) -> Response {
        var response = self
        response.headers[.location] = path
        return response
    }
}
