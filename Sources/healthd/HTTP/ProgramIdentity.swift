import Vitals

/// Which program this is and since when it runs.
struct ProgramIdentity: Sendable {
    /// Of the machine or the service, as a person calls it.
    var name: String
    var version: String
    /// Of the compiler.
    var swift: String
    var libpq: String
    var startedAt: WallTime
    /// On the monotonic clock.
    var startedInstant: MonotonicInstant
    /// New at every start: part of the ids of streamed events.
    var bootID: String
}
