import AppCore
import HTTPTypes
import Hummingbird

/// Workspaces and their data. What is wrong with a request, and whether a thing exists, the store says.
func addWorkspaceRoutes(to routes: inout Routes, workspaces: WorkspaceStore) {
    routes.on(.get, "/api/workspaces", as: "workspaces") { request, _ in
        let user = try request.uri.queryParameters.get("userId").map { text in try WorkspaceUser.ID(text, field: "userId") }
        let list = try await workspaces.list(user: user, limit: request.query("limit", in: 1...500, default: 50))
        return try .json(["workspaces": list])
    }
    routes.on(.post, "/api/workspaces", as: "workspace_create") { request, _ in
        let workspace = try await workspaces.create(request.json(NewWorkspace.self))
        return try .json(workspace, status: .created).locating("/api/workspaces/\(workspace.id)")
    }
    routes.on(.get, "/api/workspaces/{id}", as: "workspace") { _, context in
        try await .json(workspaces.find(context.workspaceID))
    }
    routes.on(.patch, "/api/workspaces/{id}", as: "workspace_update") { request, context in
        let id = try context.workspaceID
        return try await .json(workspaces.update(id, request.json(WorkspacePatch.self)))
    }
    routes.on(.get, "/api/workspaces/{id}/overview", as: "workspace_overview") { _, context in
        try await .json(workspaces.overview(context.workspaceID))
    }
    routes.on(.get, "/api/workspaces/{id}/snapshots", as: "workspace_snapshots") { request, context in
        let snapshots = try await workspaces.snapshots(
            context.workspaceID, type: request.uri.queryParameters.get("type"),
            limit: request.query("limit", in: 1...500, default: 50))
        return try .json(["snapshots": snapshots])
    }
    routes.on(.post, "/api/workspaces/{id}/snapshots", as: "workspace_snapshot_create") { request, context in
        let id = try context.workspaceID
        return try await .json(workspaces.addSnapshot(id, request.json(NewDataSnapshot.self)), status: .created)
    }
    routes.on(.get, "/api/workspaces/{id}/audit-logs", as: "workspace_audit_logs") { request, context in
        let logs = try await workspaces.auditLogs(context.workspaceID, limit: request.query("limit", in: 1...500, default: 50))
        return try .json(["auditLogs": logs])
    }
    routes.on(.get, "/api/market/{ticker}/history", as: "market_history") { request, context in
        let ticker = try context.part("ticker")
        let days = try await workspaces.marketHistory(ticker, limit: request.query("limit", in: 1...5_000, default: 252))
        return try .json(MarketHistoryDocument(ticker: ticker, days: days))
    }
}

/// Newest day first.
private struct MarketHistoryDocument: Encodable {
    var ticker: String
    var days: [MarketDay]
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
