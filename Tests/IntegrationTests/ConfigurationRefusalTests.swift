import Blackbox
import Testing

extension IntegrationTests {
    /// Exit 78, every problem in one list with its key, and nothing started.
    @Suite struct ConfigurationRefusalTests {
        @Test(arguments: [
            ("listen: [unclosed", ["healthd.yaml"]),
            ("database: { url: \"postgres:///x\", pool: { maximum: 3 } }", ["database.pool.maximum"]),
            ("database: { url: \"postgres:///x\", pool: { max: many } }", ["database.pool.max"]),
            ("database: { url: \"postgres:///x\", pool: { max: many } }\nlisten: nowhere\ncolour: blue", ["database.pool.max", "listen", "colour"]),
        ])
        func `every problem is named`(text: String, keys: [String]) async throws {
            let (status, output) = try await Healthd.refusal(text)
            #expect(status == 78, "\(output)")
            for key in keys { #expect(output.contains(key), "\(key) is not in: \(output)") }
        }
    }
}
