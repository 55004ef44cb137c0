import Synchronization
import Vitals

/// One reading for all who ask for the same while it is under way. The first of them reads, the others wait for it.
final class SharedReads<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    /// What a caller does next.
    private enum Next {
        /// Nobody reads: it does.
        case read
        case told(Result<Value, any Error>)
        /// The reader left, or had less time than it took: one of those who waited reads.
        case askAgain
        case cancelled
    }

    private struct State {
        var readings: [Key: [Int: CheckedContinuation<Next, Never>]] = [:]
        var nextID = 0
    }

    private let state = Mutex(State())
    private let time: any TimeSource

    init(time: any TimeSource) {
        self.time = time
    }

    /// - Throws: what the reading threw, to all who waited for it; `CancellationError` to the cancelled one alone.
    func value(for key: Key, _ read: () async throws -> Value) async throws -> Value {
        while true {
            switch await next(key) {
            case .told(let result): return try result.get()
            case .cancelled: throw CancellationError()
            case .askAgain: continue
            case .read: break
            }
            do {
                let value = try await read()
                end(key, .told(.success(value)))
                return value
            } catch {
                let isOwn = Task.isCancelled || Deadline.current?.hasPassed(at: time.now()) == true
                end(key, isOwn ? .askAgain : .told(.failure(error)))
                throw error
            }
        }
    }

    private func next(_ key: Key) async -> Next {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let next = state.withLock { state -> Next? in
                    if Task.isCancelled { return .cancelled }
                    guard state.readings[key] != nil else {
                        state.readings[key] = [:]
                        return .read
                    }
                    state.readings[key]?[id] = continuation
                    return nil
                }
                if let next { continuation.resume(returning: next) }
            }
        } onCancel: {
            state.withLock { $0.readings[key]?.removeValue(forKey: id) }?.resume(returning: .cancelled)
        }
    }

    private func end(_ key: Key, _ next: Next) {
        let waiting = state.withLock { $0.readings.removeValue(forKey: key) } ?? [:]
        for continuation in waiting.values { continuation.resume(returning: next) }
    }
}
