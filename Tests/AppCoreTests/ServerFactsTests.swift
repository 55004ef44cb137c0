import TestServers
import Testing
import Vitals

@testable import AppCore

/// What a new connection knows of its server.
@Suite("ServerFacts")
struct ServerFactsTests {
    private let later = Deadline(.now() + .seconds(10))

    @Test func `a connection learns its server while it is opened`() async throws {
        let server = try await TestPostgres.start()
        let system = try await server.superuserScript("SELECT system_identifier FROM pg_control_system()")
        try await withConnection(server.endpoint) { connection in
            let pid = try await connection.query("SELECT pg_backend_pid() AS pid", until: later).first?.int("pid")
            #expect(
                connection.facts
                    == ServerFacts(
                        backendPID: pid.map { Int32($0) }, isInRecovery: false, systemIdentifier: system, isBehindPooler: false))
            #expect(Int(connection.backendPID) == pid)
        }
    }

    @Test func `a role that may not ask for the system's identifier connects all the same`() async throws {
        let server = try await TestPostgres.start()
        try await server.superuserScript("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; REVOKE pg_monitor FROM app")
        try await withConnection(server.endpoint) { connection in
            #expect(connection.facts.systemIdentifier == nil)
            #expect(connection.facts.backendPID != nil)
            let zone = try await connection.query("SELECT current_setting('TimeZone') AS zone", until: later).first?.string("zone")
            #expect(zone == "UTC")
        }
    }

    @Test func `an identity differs by role, and by system only where both are known`() {
        let primary = ServerIdentity(system: "1", isInRecovery: false)
        #expect(!primary.differs(from: primary))
        #expect(!primary.differs(from: ServerIdentity(system: nil, isInRecovery: false)))
        #expect(primary.differs(from: ServerIdentity(system: "2", isInRecovery: false)))
        #expect(primary.differs(from: ServerIdentity(system: "1", isInRecovery: true)))
    }
}
