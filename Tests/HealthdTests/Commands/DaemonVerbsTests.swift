@testable import AppCore
import Hummingbird
@testable import Probes
import Testing
import Vitals

@testable import healthd

/// What the verbs tell that ask a running daemon, or its database.
@Suite struct `What verbs tell` {
    // MARK: status

    @Test(arguments: [(0.1, Int32(0)), (0.85, 0), (1.5, 1)])
    func `status ends with 1 when the verdict is critical, and with 0 when it is any other`(saturation: Double, status: Int32) async throws {
        let time = ManualTime(wall: SystemTime().wallNow())
        let board = HTTPSamples.board(saturation: saturation, time: time).snapshot()
        try await `HTTP server`.serve { routes in
            addHealthRoutes(
                to: &routes, identity: HTTPSamples.identity, board: { board }, pool: { HTTPSamples.pool() }, holders: { HTTPSamples.holders() }, time: time)
        } _: { server in
            let end = await Healthd.run(["status", "--address", "127.0.0.1:\(server.port)"])
            #expect(end.status == status && end.message.isEmpty, "\(end)")
        }
    }

    // MARK: alerts

    /// As the verb prints what such a daemon answers, a line each, its words.
    private func alerts(_ change: (inout AlertsSnapshot) -> Void = { _ in }) throws -> [[Substring]] {
        var alerts = HTTPSamples.alerts()
        change(&alerts)
        let document = try Response.jsonBytes(AlertsDocument(alerts, asOf: HTTPSamples.wall))
        let text = AlertsCommand.List.text(try RequestProblem.decode(AlertsCommand.List.Alerts.self, from: document))
        return text.split(separator: "\n").map { $0.split(separator: " ") }
    }

    private func words(_ text: String) -> [Substring] { text.split(separator: " ") }

    @Test func `alerts names who was told of each, and who was not`() throws {
        #expect(try alerts().contains(words("pool-saturation critical firing 5 s nobody pool saturation 150 %")))
        #expect(try alerts { $0.open[0].told = ["oncall", "chat"] }.contains(words("pool-saturation critical firing 5 s oncall, chat pool saturation 150 %")))
        #expect(try alerts { $0.open = [] }.contains(words("no alert is open")))
    }

    @Test func `alerts tells a receiver that fails, and one that is disabled, from one that is well`() throws {
        #expect(try alerts().contains(words("oncall example.org 1 failing for 4 s: connection refused")))
        #expect(try alerts { $0.receivers[0].failingFor = nil }.contains(words("oncall example.org 1 well")))
        let disabled = try alerts { alerts in
            alerts.receivers[0].failingFor = nil
            alerts.receivers[0].isDisabled = true
        }
        #expect(disabled.contains(words("oncall example.org 1 disabled: it answered 410")))
        #expect(try alerts { $0.receivers = [] }.contains(words("no receiver is configured")))
    }

    // MARK: migrate status

    private static let known = [Migration(name: "0001_a.sql", text: "a"), Migration(name: "0002_b.sql", text: "b")]

    private static func applied(_ number: Int, checksum: String? = nil) -> MigrationStatus.Applied {
        .init(name: known[number].name, checksum: checksum ?? known[number].checksum, appliedAt: HTTPSamples.wall)
    }

    @Test func `migrate status is content when nothing is missing and nothing is wrong, and only then`() {
        let complete = MigrationReport(MigrationStatus(known: Self.known, applied: [Self.applied(0), Self.applied(1)]))
        #expect(complete.isComplete)
        #expect(complete.text.split(separator: "\n").map { $0.hasPrefix("applied  000") } == [true, true], "\(complete.text)")
        let half = MigrationReport(MigrationStatus(known: Self.known, applied: [Self.applied(0)]))
        #expect(!half.isComplete)
        #expect(half.text.hasSuffix("\nmissing  0002_b.sql\nrun \"healthd migrate up\""), "\(half.text)")
        let changed = MigrationReport(MigrationStatus(known: Self.known, applied: [Self.applied(0), Self.applied(1, checksum: "other")]))
        #expect(!changed.isComplete)
        #expect(changed.missing == [] && changed.text.contains("\nproblem  "), "\(changed.text)")
    }
}
