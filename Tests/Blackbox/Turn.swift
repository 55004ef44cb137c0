/// One at a time, in order of arrival: tests that measure the running program, or freeze its neighbours, take turns.
public actor Turn {
    public static let shared = Turn()

    private var isTaken = false
    private var queue: [CheckedContinuation<Void, Never>] = []

    public func with(_ body: @Sendable () async throws -> Void) async throws {
        await take()
        defer { give() }
        try await body()
    }

    private func take() async {
        guard isTaken else {
            isTaken = true
            return
        }
        await withCheckedContinuation { queue.append($0) }
    }

    private func give() {
        if queue.isEmpty { isTaken = false } else { queue.removeFirst().resume() }
    }
}
