import Probes
import Synchronization
import Vitals

/// Makes another probe look now, and learns what it found: for a probe that must not take that one's trouble for its own.
///
/// Made before the runners; until it is joined with the one it asks, all is well.
final class FreshLook: Sendable {
    private struct State {
        var runner: ProbeRunner?
        var waiting: [Int: CheckedContinuation<Bool, Never>] = [:]
        var count = 0
    }

    private let state = Mutex(State())
    private let time: any TimeSource

    init(time: any TimeSource) {
        self.time = time
    }

    func connect(to runner: ProbeRunner) {
        state.withLock { $0.runner = runner }
    }

    /// Every sample of the runner it is joined with.
    func record(_ sample: Sample) {
        let waiting = state.withLock { state in
            defer { state.waiting = [:] }
            return state.waiting.values
        }
        for continuation in waiting { continuation.resume(returning: sample.outcome == .ok) }
    }

    /// Whether the next look is well; false when none has ended within `limit`.
    func isWell(within limit: Duration) async -> Bool {
        guard let runner = state.withLock({ $0.runner }) else { return true }
        let time = time
        return await withTaskGroup(of: Bool.self) { group in
            group.addTask { await self.next(of: runner) }
            group.addTask {
                try? await time.sleep(for: limit)
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }

    private func next(of runner: ProbeRunner) async -> Bool {
        let number = state.withLock { state in
            state.count += 1
            return state.count
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Bool, Never>) in
                let isLate = state.withLock { state in
                    guard !Task.isCancelled else { return true }
                    state.waiting[number] = continuation
                    return false
                }
                if isLate { continuation.resume(returning: false) } else { runner.nudge() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: number) }?.resume(returning: false)
        }
    }
}
