import AppCore
import Synchronization
import Vitals

/// What the demo load works on: a few workspaces much more often than the others.
final class DemoChoice: Sendable {
    /// Nobody has made a workspace yet, or the database has not told of any.
    struct Empty: Error, CustomStringConvertible {
        let description = "there is no workspace to choose from"
    }

    private struct State {
        var workspaces: [Workspace] = []
        var tasksBegun = 0
        var lastTask: AgentTask.ID?
    }

    private let state = Mutex(State())

    /// Ordered by id, not by use as they come: those used most would else change with every visit.
    func replace(with workspaces: [Workspace]) {
        let ordered = workspaces.sorted { $0.id < $1.id }
        state.withLock { $0.workspaces = ordered }
    }

    /// The first fifth is chosen in three of five cases: the cube of a uniform draw.
    func workspace() throws(Empty) -> Workspace {
        let draw = Double.random(in: 0..<1)
        let chosen = state.withLock { state -> Workspace? in
            state.workspaces.isEmpty ? nil : state.workspaces[Int(draw * draw * draw * Double(state.workspaces.count))]
        }
        guard let chosen else { throw Empty() }
        return chosen
    }

    /// The kinds in turn.
    func nextType(of types: [String]) -> String {
        state.withLock { state in
            defer { state.tasksBegun += 1 }
            return types[state.tasksBegun % types.count]
        }
    }

    var lastTask: AgentTask.ID? {
        get { state.withLock { $0.lastTask } }
        set { state.withLock { $0.lastTask = newValue } }
    }
}
