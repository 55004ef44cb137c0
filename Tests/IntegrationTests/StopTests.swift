import Blackbox
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// It is asked to end while it is being used.
    @Suite struct StopTests {
        @Test func `clients that come while it ends do not change how it ends`() async throws {
            for _ in 0..<5 {
                let healthd = try await Healthd.start(DescriptorTests.settings)
                let came = Counter()
                async let refused: Void = Self.come(to: healthd.port, counting: came)
                try await until("clients come") { came.value > 0 }
                let status = try await healthd.end()
                await refused
                #expect(status == 0, "\(came.value) clients came; \(healthd.output.suffix(2_000))")
            }
        }

        /// One client after the other comes and goes, until the port refuses them.
        @concurrent private static func come(to port: Int, counting came: Counter) async {
            while came.value < 5_000, (try? RawClient(port: port)) != nil { came.add() }
        }
    }
}
