import AppCore
import FoundationEssentials
import GRDB
import Glibc
import Logging
import Probes
import TestServers
import Vitals

@testable import healthd

/// A program that is made of a file and does not run, what reloads it, and how its file is written.
func withProgram(_ yaml: String = "", _ body: (Program, Reloader, (String) throws -> Void) async throws -> Void) async throws {
    var template = Array("/tmp/healthd-reload-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TestServerError("cannot make a temporary folder, errno \(errno)") }
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func write(_ text: String) throws { try text.write(toFile: "\(folder)/healthd.yaml", atomically: true, encoding: .utf8) }
    try write(yaml)

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
        do {
            try await body(program, Reloader(configuration, source: source, program: program, notifier: notifier, logger: .quiet), write)
        } catch {
            await program.end()
            throw error
        }
        await program.end()
    } catch {
        try? await sender.shutdown()
        throw error
    }
    try await sender.shutdown()
}
