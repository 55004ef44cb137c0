import Vitals

// What AgentTaskStore reads, as it is answered: bounded in bytes, and passed on unread.

extension AgentTaskStore {
    /// - Throws: `RequestProblem.notFound`.
    public func document(_ id: AgentTask.ID) async throws -> JSONDocument {
        try await namingMigrations {
            let rows = try await database.query("\(unescaped: RowDocument.task.select(values: .full)) WHERE t.id = \(id)", for: "tasks.find")
            guard let row = rows.first else { throw RequestProblem.notFound(what: "task \(id)") }
            return try RowDocument.task.told(row)
        }
    }

    /// Tasks of a workspace, newest first: `{"tasks":[…],"next":"…"}`.
    ///
    /// - Throws: `RequestProblem.notFound` for a workspace that does not exist.
    public func page(of workspace: Workspace.ID, limit: Int = 50, before: PageCursor? = nil) async throws -> JSONDocument {
        do {
            let rows = try await RowPage.tasks.rows(database, of: workspace, limit: limit, before: before, for: "tasks.list")
            return try RowPage.tasks.told(rows, as: "tasks")
        } catch let problem as RequestProblem {
            if case .notFound = problem { await onAbsence(workspace) }
            throw problem
        }
    }
}
