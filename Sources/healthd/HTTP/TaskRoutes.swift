import AppCore
import HTTPTypes
import Hummingbird
import Vitals

/// Agent tasks: made, asked for, acted on, and followed.
func addTaskRoutes(to routes: inout Routes, tasks: AgentTaskStore, hub: EventHub, time: any TimeSource) {
    routes.on(.post, "/api/agents/tasks", as: "task_create") { request, _ in
        let task = try await tasks.create(request.json(NewAgentTask.self))
        return try .json(task, status: .created).locating("/api/agents/tasks/\(task.id)")
    }
    routes.on(.get, "/api/agents/tasks/{id}", as: "task") { _, context in
        try await .json(tasks.document(context.taskID))
    }
    for action in TaskAction.allCases {
        routes.on(.post, "/api/agents/tasks/{id}/\(action.rawValue)", as: "task_\(action.rawValue)") { _, context in
            try await .json(tasks.apply(action, to: context.taskID))
        }
    }
    routes.on(.get, "/api/agents/tasks/{id}/telemetry", as: "task_telemetry") { _, context in
        try await .json(tasks.telemetry(context.taskID))
    }
    routes.on(.get, "/api/agents/workspaces/{id}/tasks", as: "workspace_tasks") { request, context in
        try await .json(
            tasks.page(of: context.workspaceID, limit: request.query("limit", in: 1...500, default: 50), before: request.pageCursor))
    }
    routes.on(.get, "/api/agents/tasks/{id}/stream", as: "task_stream") { request, context in
        let id = try context.taskID
        do {
            let stream = try await hub.stream(of: id, lastEventID: request.headers[.lastEventID])
            return EventStream.response(to: request, context, time: time, events: stream)
        } catch {
            return try EventStream.refusal(of: error)
        }
    }
}
