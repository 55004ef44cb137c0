import TestServers
import Vitals

/// Waits until something outside this process has come about, and answers how long that took.
///
/// The one place where a test waits on real time: a process, a socket or a unit gives no signal that a test could await. It asks
/// again and again, and gives up with the last reason at the limit: a bound on hanging, and no promise. A test of a promise looks at how long
/// it took.
@discardableResult
public func eventually(
    _ what: String, within limit: Duration = .seconds(30), every pause: Duration = .milliseconds(10),
    _ condition: () async throws -> Bool
) async throws -> Duration {
    let began = MonotonicInstant.now()
    _ = try await eventuallySome(what, within: limit, every: pause) { try await condition() ? true : nil }
    return MonotonicInstant.now() - began
}

/// Waits until `attempt` answers something, and answers that.
public func eventuallySome<R>(
    _ what: String, within limit: Duration = .seconds(30), every pause: Duration = .milliseconds(10),
    _ attempt: () async throws -> R?
) async throws -> R {
    let deadline = MonotonicInstant.now() + limit
    var lastError: (any Error)?
    while true {
        do {
            if let result = try await attempt() { return result }
            lastError = nil
        } catch {
            lastError = error
        }
        guard MonotonicInstant.now() < deadline else { throw NotInTime(what, limit: limit, lastError: lastError) }
        try await SystemTime().sleep(for: pause)
    }
}

/// Checks that something stays true for a while, asking again and again.
public func steadily(
    _ what: String, for period: Duration, every pause: Duration = .milliseconds(50), _ condition: () async throws -> Bool
) async throws {
    let end = MonotonicInstant.now() + period
    while MonotonicInstant.now() < end {
        guard try await condition() else { throw NotInTime("no longer: \(what)", limit: period) }
        try await SystemTime().sleep(for: pause)
    }
}
