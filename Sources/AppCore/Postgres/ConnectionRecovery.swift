import Vitals

/// Making a connection as good as new after a lease that ended otherwise than well.
extension PostgresConnection {
    /// Cancels what still runs, rolls back what is open, and restores a session that was changed.
    ///
    /// - Returns: whether the connection may be used again; false when that could not be had by the deadline.
    func recover(until deadline: Deadline) async -> Bool {
        if isAbandoned {
            await cancel(until: deadline)
            await drained(until: deadline)
        }
        if case .needsRecovery = condition { _ = try? await query("ROLLBACK", until: deadline) }
        if case .sessionChanged = condition { await restoreSession(until: deadline) }
        if case .reusable = condition { return true }
        return false
    }

    /// Asks the server to cancel what runs. Returns when it has been told, or at the deadline.
    ///
    /// A request that is still on its way then would hit whoever has the connection when it arrives: so nobody gets it any more.
    func cancel(until deadline: Deadline) async {
        guard let cancelHandle else { return }
        do {
            _ = try await calls.run(name: "pg-cancel", until: deadline) { cancelHandle.request() }
        } catch BlockingCalls.Failure.deadlineExceeded {
            condemn(because: "a cancel request is still on its way")
        } catch {}
    }
}
