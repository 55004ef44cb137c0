import OrderedCollections
import Synchronization

/// Lets a few in at a time, in order of arrival.
final class Gate: Sendable {
    private struct State {
        var places: Int
        var waiting: OrderedDictionary<Int, CheckedContinuation<Bool, Never>> = [:]
        var nextID = 0
    }

    private let state: Mutex<State>

    init(places: Int) {
        precondition(places > 0, "a gate without a place lets nobody in")
        state = Mutex(State(places: places))
    }

    /// Runs `body` as soon as there is a place.
    ///
    /// - Throws: `CancellationError` when cancelled while waiting, and whatever `body` throws. A deadline is looked at by `body`: whoever
    ///   has none left gets in, is told so, and makes room.
    func pass<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
        guard await enter() else { throw CancellationError() }
        defer { leave() }
        return try await body()
    }

    /// - Returns: false when cancelled.
    private func enter() async -> Bool {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isIn = state.withLock { state -> Bool? in
                    if Task.isCancelled { return false }
                    guard state.places == 0 else {
                        state.places -= 1
                        return true
                    }
                    state.waiting[id] = continuation
                    return nil
                }
                if let isIn { continuation.resume(returning: isIn) }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: id) }?.resume(returning: false)
        }
    }

    private func leave() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard !state.waiting.isEmpty else {
                state.places += 1
                return nil
            }
            return state.waiting.removeFirst().value
        }
        next?.resume(returning: true)
    }
}
