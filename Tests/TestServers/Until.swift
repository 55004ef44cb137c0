public import Vitals

/// Waits for something that this process itself brings about: asks again and again, and lets other tasks run in between.
///
/// The limit is a bound on hanging and no promise: a test of a promise measures the time itself.
///
/// - Throws: `NotInTime` at the limit, `CancellationError` when the test was cancelled, what `condition` throws.
public func until(_ what: String, within limit: Duration = .seconds(30), _ condition: () async throws -> Bool) async throws {
    let end = MonotonicInstant.now() + limit
    while try await !condition() {
        try Task.checkCancellation()
        guard MonotonicInstant.now() < end else { throw NotInTime(what, limit: limit) }
        await Task.yield()
    }
}

extension ManualTime {
    /// Returns once at least `count` tasks sleep on this clock: `untilSleeping`, which would wait for ever, with a limit.
    public func untilAsleep(_ count: Int = 1, within limit: Duration = .seconds(30)) async throws {
        let asleep = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await self.untilSleeping(count)
                asleep.add()
            }
            do {
                try await until("\(count) asleep", within: limit) { asleep.value > 0 }
            } catch {
                // It does not heed cancellation, so it gets what it waits for.
                let sleepers = (0..<count).map { _ in Task.detached { try await self.sleep(for: .seconds(1)) } }
                _ = try await group.next()
                for sleeper in sleepers { sleeper.cancel() }
                throw error
            }
        }
    }
}

/// What a test waited for did not come about.
public struct NotInTime: Error, CustomStringConvertible {
    var what: String
    var limit: Duration
    var lastError: (any Error)?

    public init(_ what: String, limit: Duration, lastError: (any Error)? = nil) {
        self.what = what
        self.limit = limit
        self.lastError = lastError
    }

    public var description: String {
        "\(what): not within \(limit)" + (lastError.map { "; last error: \($0)" } ?? "")
    }
}
