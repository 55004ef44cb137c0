import AppCore
import FoundationEssentials
import GRDB
import Glibc
import Logging
import Probes
import TestServers
import Testing
import Vitals

@testable import healthd

/// What a reload puts in force while the program runs, and what one that is refused leaves as it was.
@Suite struct `What a reload leaves in force` {
    /// A program that is made and does not run, what reloads it, and how its file is written.
    private func reloading(_ body: (Program, Reloader, (String) throws -> Void) throws -> Void) async throws {
        var template = Array("/tmp/healthd-reload-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestServerError("cannot make a temporary folder, errno \(errno)") }
        let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func write(_ text: String) throws { try text.write(toFile: "\(folder)/healthd.yaml", atomically: true, encoding: .utf8) }
        try write("")

        let source = ConfigurationSource(path: "\(folder)/healthd.yaml", environment: ["PGHOST": folder], mode: .configured)
        let configuration = try source.load()
        let time = SystemTime()
        let sender = WebhookSender(version: ProgramVersion.number, time: time)
        let needs = DescriptorBudget.Needs(pool: 1, receivers: 1, cores: 1)
        do {
            var migrator = DatabaseMigrator()
            Outbox.registerMigrations(in: &migrator)
            let program = try Program(
                configuration, servers: Program.Servers(postgres: PostgresEndpoint(keywords: ["host": folder])),
                store: try LocalStore(path: "\(folder)/healthd.sqlite", migrator: migrator, time: time, logger: .quiet), sender: sender,
                descriptors: DescriptorBudget(limit: needs.sum + 100, open: 0, needs: needs), process: ProcessFiles(), time: time, logger: .quiet)
            let notifier = SystemdNotifier(.none, time: time, logger: .quiet)
            let outcome = Result { try body(program, Reloader(configuration, source: source, program: program, notifier: notifier, logger: .quiet), write) }
            await program.end()
            try outcome.get()
        } catch {
            try? await sender.shutdown()
            throw error
        }
        try await sender.shutdown()
    }

    private func receivers(_ program: Program) -> [String] { program.dispatcher.snapshot().receivers.map(\.name) }

    private func degraded(_ program: Program) -> Double? {
        guard case .value(let value)? = program.board.rules.first(where: { $0.name == "pool-saturation" })?.condition else { return nil }
        return value.degraded
    }

    @Test func `receivers and thresholds are those of the last good file, and whether the last one was good is known`() async throws {
        try await reloading { program, reloader, write in
            #expect(receivers(program) == [] && degraded(program) == 0.8 && reloader.status.succeeded)
            try write(
                """
                rules: { pool-saturation: { degraded: 0.6 } }
                receivers:
                  - { name: oncall, webhook: "http://127.0.0.1:1/hook" }
                """)
            let said = try reloader.reload()
            #expect(said.hasPrefix("took effect: receivers[0].name, "), "\(said)")
            #expect(receivers(program) == ["oncall"] && degraded(program) == 0.6)

            try write("rules: { pool-saturation: { degraded: plenty } }")
            #expect(throws: ConfigurationProblems.self) { try reloader.reload() }
            #expect(receivers(program) == ["oncall"] && degraded(program) == 0.6 && !reloader.status.succeeded)

            try write("")
            try reloader.reload()
            #expect(receivers(program) == [] && degraded(program) == 0.8 && reloader.status.succeeded)
        }
    }
}
