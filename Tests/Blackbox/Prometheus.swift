import TestServers

/// A real Prometheus server that scrapes one port every 200 ms.
public struct Prometheus: Sendable {
    public let web: Web

    private let program: Program
    private let folder: TemporaryFolder

    public static func start(scraping port: Int) async throws -> Prometheus {
        let folder = try TemporaryFolder("prometheus")
        let configuration = try folder.write(
            """
            global: { scrape_interval: 200ms, scrape_timeout: 200ms }
            scrape_configs:
              - job_name: healthd
                static_configs: [{ targets: ["127.0.0.1:\(port)"] }]
            """, to: "prometheus.yml")
        let own = try unusedPort()
        let program = try Program(
            [
                "prometheus", "--config.file=\(configuration)", "--storage.tsdb.path=\(folder.path)/data",
                "--web.listen-address=127.0.0.1:\(own)", "--log.level=warn",
            ], log: "\(folder.path)/log")
        let prometheus = Prometheus(web: Web(port: own), program: program, folder: folder)
        do {
            try await eventually("Prometheus is ready") { try await prometheus.web.get("/-/ready").status == 200 }
        } catch {
            throw TestServerError("\(error): \(program.output)")
        }
        return prometheus
    }

    /// The samples an expression has now, by their labels.
    public func query(_ expression: String) async throws -> [(labels: [String: String], value: Double)] {
        let escaped = expression.utf8.map { byte in
            let character = Character(Unicode.Scalar(byte))
            return character.isLetter || character.isNumber ? String(character) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
        let answer = try await web.get("/api/v1/query?query=\(escaped)").json
        return answer["data"]["result"].items.map { item in
            (item["metric"].members.compactMapValues(\.string), Double(item["value"][1].string ?? "") ?? .nan)
        }
    }

    /// Why the last scrape failed; empty when it did not.
    public func scrapeError() async throws -> String {
        try await web.get("/api/v1/targets").json["data"]["activeTargets"][0]["lastError"].string ?? "no target"
    }

    public func end() async throws {
        try await program.end()
    }
}
