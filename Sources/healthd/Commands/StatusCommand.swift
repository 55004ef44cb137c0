import ArgumentParser
import FoundationEssentials
import Vitals

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Print the running daemon's verdict. Exit status 1 when it is critical, or nobody answers.")

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: JSONOption

    struct Health: Decodable {
        struct Check: Decodable {
            var rule: String?
            var state: String?
            var status: String
            var since: WallTime?
            var reason: String?
        }

        var status: String
        var output: String?
        var version: String?
        var checks: [String: [Check]]
    }

    func run() async throws {
        let client = try daemon.client()
        let answer = try await client.get("/api/health")
        // 503 is what a critical verdict may come with; the body is the same.
        let health = try client.decode(Health.self, from: answer, statuses: [200, 503])
        print(output.json ? answer.text : Self.text(health, now: SystemTime().wallNow()))
        if health.status == "fail" { throw CheckFailed() }
    }

    static func text(_ health: Health, now: WallTime) -> String {
        var table = TextTable("COMPONENT", "RULE", "STATE", "SINCE", "WHY")
        for (component, checks) in health.checks.sorted(by: { $0.key < $1.key }) {
            for check in checks {
                table.add(component, check.rule, check.state ?? check.status, check.since.map { "\((now - $0).text) ago" }, check.reason)
            }
        }
        let sentence = (health.output ?? health.status).oneLine(limit: 500)
        return table.rows.isEmpty ? sentence : "\(sentence)\n\n\(table.text)"
    }
}
