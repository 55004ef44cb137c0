import Blackbox
import FoundationEssentials
import TestServers
import Testing

extension IntegrationTests {
    @Suite struct ScrapeTests {
        @Test func `promtool finds nothing to complain about`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            try await eventually("all is well") { try await healthd.web.get("/api/health").json["status"].string == "pass" }
            _ = try await healthd.web.get("/api/workspaces")

            let answer = try await healthd.web.get("/metrics", headers: ["accept": "text/plain;version=0.0.4"])
            #expect(answer.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
            let folder = try TemporaryFolder("promtool")
            let file = try folder.write(answer.text, to: "metrics")
            // It exits with 3 when it has a finding, and prints each.
            #expect(try await TestServers.run("sh", ["-c", "promtool check metrics <\(file) 2>&1; echo $?"]) == "0")
        }

        @Test func `both formats, and gzip when it is asked for`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            let healthd = try await Healthd.start(neighbours.settings())
            let open = try await healthd.web.get("/metrics", headers: ["accept": "application/openmetrics-text;version=1.0.0"])
            #expect(open.headers["content-type"]?.hasPrefix("application/openmetrics-text; version=1.0.0") == true)
            #expect(open.text.hasSuffix("# EOF\n"))

            let folder = try TemporaryFolder("gzip")
            let url = "\(healthd.web.base)/metrics"
            let sizes = try await TestServers.run(
                "sh", ["-c", "curl -s -H 'Accept-Encoding: gzip' \(url) >\(folder.path)/z && gzip -cd <\(folder.path)/z | grep -c '^# HELP'"])
            #expect((Int(sizes) ?? 0) > 20)
        }

        @Test func `a real Prometheus scrapes it`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings(poolMax: 7))
            let prometheus = try await Prometheus.start(scraping: healthd.port)
            try await eventually("up is 1") {
                try await prometheus.query("up{job=\"healthd\"}").first?.value == 1
            }
            #expect(try await prometheus.scrapeError() == "")
            let connections = try await prometheus.query("healthd_pool_connections")
            #expect(Set(connections.compactMap { $0.labels["state"] }).isSuperset(of: ["idle", "in_use"]))
            #expect(try await prometheus.query("healthd_pool_connections_max").first?.value == 7)
            // Histograms arrive whole: a quantile can be computed.
            try await eventually("a quantile of the scheduler's probes") {
                try await !prometheus.query("histogram_quantile(0.99, sum by (le) (rate(healthd_probe_duration_seconds_bucket[5s])))").isEmpty
            }
            try await prometheus.end()
        }
    }
}
