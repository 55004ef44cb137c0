import AppCore
import Vitals

/// Which program this is and since when it runs.
struct ProgramIdentity: Sendable {
    /// Host and port; the `instance` of its notices.
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
            name: name(listen: listen), version: ProgramVersion.number, swift: swiftVersion, libpq: LibraryVersions.libpq,
            startedAt: time.wallNow(), startedInstant: time.now(), bootID: String(UInt32.random(in: .min ... .max), radix: 36))
    }

    static func name(listen: ListenAddress) -> String { "\(hostName()):\(listen.port)" }

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
