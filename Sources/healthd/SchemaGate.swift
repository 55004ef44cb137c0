import Synchronization

/// Whether the database has the tables this program needs: asked by readiness, awaited by what works on them.
final class SchemaGate: Sendable {
    private struct State {
        var problem: String? = "not looked at yet"
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// Why the application cannot work on the database; nil when it can.
    var problem: String? { state.withLock { $0.problem } }

    func report(_ problem: String?) {
        let released = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.problem = problem
            guard problem == nil else { return [] }
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in released { continuation.resume() }
    }

    /// Returns when the tables are there, or the task is cancelled.
    func untilReady() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.problem == nil || Task.isCancelled { return true }
                    state.waiting.append(continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            // Few wait here, and only at the start: all are woken.
            let released = state.withLock { state in
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in released { continuation.resume() }
        }
    }
}
