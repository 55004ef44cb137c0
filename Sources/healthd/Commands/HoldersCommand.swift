import ArgumentParser
import FoundationEssentials
import Vitals

struct HoldersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holders", abstract: "Print who holds the pool's connections, since when, and who waits for one.")

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        let client = try daemon.client()
        let answer = try await client.get("/api/health/pool/holders")
        let holders = try client.decode(PoolHoldersDocument.self, from: answer)
        print(output.json ? answer.text : Self.text(holders))
    }

    static func text(_ picture: PoolHoldersDocument) -> String {
        var parts = ["\(picture.holders.count) of \(picture.max) connections are held, \(picture.waiters.count) callers wait"]
        if !picture.holders.isEmpty {
            var table = TextTable("HOLDS FOR", "PURPOSE", "CLASS", "OF", "BACKEND", "TRANSACTION", "SERVER", "STATEMENT", "FROM")
            for holder in picture.holders {
                table.add(
                    Duration(clampingSeconds: holder.ageSeconds).text, holder.purpose, holder.class, holder.detail, holder.backendPid.map(String.init),
                    holder.inTransaction ? "open" : "no", holder.backend?.text, holder.statementText, holder.callSite)
            }
            parts.append(table.text)
        }
        if !picture.waiters.isEmpty {
            var table = TextTable("WAITS FOR", "PURPOSE", "CLASS", "OF", "GIVES UP IN", "FROM")
            for waiter in picture.waiters {
                table.add(
                    Duration(clampingSeconds: waiter.ageSeconds).text, waiter.purpose, waiter.class, waiter.detail, Duration(clampingSeconds: waiter.deadlineInSeconds).text,
                    waiter.callSite)
            }
            parts.append(table.text)
        }
        return parts.joined(separator: "\n\n")
    }
}

extension PoolHoldersDocument.Holder {
    fileprivate var statementText: String? {
        guard let statement, let batched, batched > 1 else { return statement }
        return "\(statement) and \(batched - 1) more"
    }
}

extension PoolHoldersDocument.Backend {
    /// `Lock:transactionid, held by 4711, 400 ms ago`; its state while it waits for nothing.
    fileprivate var text: String {
        var parts = [waitsFor ?? state ?? "not visible"]
        if !blockedBy.isEmpty { parts.append("held by \(blockedBy.map(String.init).joined(separator: " "))") }
        return (parts + ["\(Duration(clampingSeconds: ageSeconds).text) ago"]).joined(separator: ", ")
    }
}
