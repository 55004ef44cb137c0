import ArgumentParser
import FoundationEssentials
import Vitals

struct HoldersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holders", abstract: "Print who holds the pool's connections, since when, and who waits for one.")

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: JSONOption

    struct Holders: Decodable {
        struct Holder: Decodable {
            var purpose: String
            var detail: String?
            var statement: String?
            var callSite: String
            var ageSeconds: Double
            var inTransaction: Bool
            var backendPid: Int?
        }

        struct Waiter: Decodable {
            var purpose: String
            var detail: String?
            var callSite: String
            var ageSeconds: Double
            var deadlineInSeconds: Double
        }

        var max: Int
        var holders: [Holder]
        var waiters: [Waiter]
    }

    func run() async throws {
        let client = try daemon.client()
        let answer = try await client.get("/api/health/pool/holders")
        let holders = try client.decode(Holders.self, from: answer)
        print(output.json ? answer.text : Self.text(holders))
    }

    static func text(_ picture: Holders) -> String {
        var parts = ["\(picture.holders.count) of \(picture.max) connections are held, \(picture.waiters.count) callers wait"]
        if !picture.holders.isEmpty {
            var table = TextTable("HOLDS FOR", "PURPOSE", "OF", "BACKEND", "TRANSACTION", "STATEMENT", "FROM")
            for holder in picture.holders {
                table.add(
                    Duration.seconds(holder.ageSeconds).text, holder.purpose, holder.detail, holder.backendPid.map(String.init),
                    holder.inTransaction ? "open" : "no", holder.statement, holder.callSite)
            }
            parts.append(table.text)
        }
        if !picture.waiters.isEmpty {
            var table = TextTable("WAITS FOR", "PURPOSE", "OF", "GIVES UP IN", "FROM")
            for waiter in picture.waiters {
                table.add(
                    Duration.seconds(waiter.ageSeconds).text, waiter.purpose, waiter.detail, Duration.seconds(waiter.deadlineInSeconds).text,
                    waiter.callSite)
            }
            parts.append(table.text)
        }
        return parts.joined(separator: "\n\n")
    }
}
