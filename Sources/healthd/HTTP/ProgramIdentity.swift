import AppCore
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

    static func current(listen: ListenAddress, time: any TimeSource) -> ProgramIdentity {
        ProgramIdentity(
            name: "\(hostName()):\(listen.port)", version: ProgramVersion.number, swift: swiftVersion, libpq: LibraryVersions.libpq,
            startedAt: time.wallNow(), startedInstant: time.now(), bootID: String(UInt32.random(in: .min ... .max), radix: 36))
    }

    /// Of the compiler that built this; the language offers it to conditions only.
    private static var swiftVersion: String {
        #if compiler(>=6.4)
            "6.4 or later"
        #elseif compiler(>=6.3)
            "6.3"
        #else
            "before 6.3"
        #endif
    }
}
