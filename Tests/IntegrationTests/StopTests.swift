import Blackbox
import TestServers
import Testing

extension IntegrationTests {
    /// It is asked to end while it is being used.
    @Suite struct StopTests {
        @Test func `clients that come while it ends do not change how it ends`() async throws {
            for _ in 0..<5 {
                let healthd = try await Healthd.start(DescriptorTests.settings)
                async let clients = Self.come(to: healthd.port)
                let status = try await healthd.end()
                let count = await clients
                #expect(status == 0, "\(count) clients came; \(healthd.output.suffix(2_000))")
                #expect(count > 0)
            }
        }

        /// One client after the other comes and goes, until the port refuses them. Answers how many there were.
        @concurrent private static func come(to port: Int) async -> Int {
            var count = 0
            while count < 5_000, (try? RawClient(port: port)) != nil { count += 1 }
            return count
        }
    }
}
