import FoundationEssentials

/// Where the two kinds of time come from. Arrives through `init`; tests pass a `ManualTime`.
public protocol TimeSource: Sendable {
    /// For ages and deadlines.
    func now() -> MonotonicInstant

    /// For rows, notices and logs.
    func wallNow() -> WallTime

    /// Returns at the instant or soon after it; at once when it has passed.
    ///
    /// - Throws: `CancellationError` when the task is cancelled while asleep.
    func sleep(until instant: MonotonicInstant) async throws
}

extension TimeSource {
    public func sleep(for duration: Duration) async throws {
        try await sleep(until: now() + duration)
    }
}

public struct SystemTime: TimeSource {
    public init() {}

    public func now() -> MonotonicInstant { .now() }

    public func wallNow() -> WallTime { WallTime(secondsSince1970: Date().timeIntervalSince1970) }

    public func sleep(until instant: MonotonicInstant) async throws {
        let remaining = instant - now()
        try Task.checkCancellation()
        guard remaining > .zero else { return }
        // Dispatch may defer a timer to save power; deadlines here are meant.
        try await Task.sleep(for: remaining, tolerance: .zero, clock: .suspending)
    }
}
