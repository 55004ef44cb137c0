import Blackbox
import FoundationEssentials
import Glibc
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// The file that alerts are kept in is bad, and the program is not.
    @Suite struct AlertStoreTests {
        @Test func `A7: a damaged healthd.sqlite is set aside; the verdict and a page say so, and all is well again`() async throws {
            let folder = try TemporaryFolder("store")
            mkdir("\(folder.path)/state", 0o755)
            try folder.write(String(repeating: "no database ", count: 1_000), to: "state/healthd.sqlite")
            let receiver = WebhookReceiver(port: try unusedPort())
            try await receiver.open()
            let healthd = try await Healthd.start(
                """
                database: { url: "postgres://nobody@127.0.0.1:\(try unusedPort())/none" }
                receivers:
                  - { name: oncall, webhook: "\(receiver.url)" }
                """, folder: folder)
            try await eventually("somebody is told") { receiver.accepted.contains { $0.status == "firing" && $0.body.contains("was set aside as") } }
            try await eventually("all is well again", within: .seconds(60)) { try await healthd.verdict("alerts") == "healthy" }
            try await eventually("and that is told", within: .seconds(60)) {
                receiver.accepted.contains { $0.status == "resolved" && $0.body.contains("alert-store") }
            }
            let files = try FileManager.default.contentsOfDirectory(atPath: healthd.state)
            #expect(files.contains { $0.hasPrefix("healthd.sqlite.damaged-20") } && files.contains("healthd.sqlite"), "\(files)")

            // Who routes by the instance can try that: a test comes from the same one as what is real.
            let real = Set(receiver.accepted.map { $0.json["alerts"][0]["labels"]["instance"].string })
            #expect(try await healthd.verb("alerts", "test", "oncall").status == 0)
            let tests = receiver.accepted.filter { $0.json["alerts"][0]["labels"]["alertname"].string == "healthd-test" }
            #expect(tests.count == 2)
            #expect(Set(tests.map { $0.json["alerts"][0]["labels"]["instance"].string }) == real && real.count == 1, "\(real)")
            #expect(try await healthd.end() == 0)
            try await receiver.close()
        }
    }
}
