import ArgumentParser
import Probes
import Vitals

struct ReloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Make the running daemon read its configuration again: thresholds and receivers take effect, a bad file changes nothing.",
        discussion: "Exit status 78, with every problem, when the daemon refused the configuration.")

    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "Return once it is done, with its outcome; without it, after a second where the daemon is there.")
    var wait = false

    func run() async throws {
        let client = try daemon.client()
        let answer: DaemonClient.Answer
        do {
            answer = try await client.post("/-/reload", within: wait ? .seconds(30) : .seconds(1))
        } catch let silent as DaemonClient.NoAnswer where !wait && silent.kind == .timeout {
            // An address behind which nobody is, or somebody who hangs, is silent as well.
            _ = try await client.get("/livez", within: .seconds(2))
            print("the daemon is at it; its log will say what came of it")
            return
        }
        switch answer.status {
        case 200:
            print(answer.text.isEmpty ? "done" : String(answer.text.drop { $0.isNewline }.reversed().drop { $0.isNewline }.reversed()))
        case 422:
            throw ReloadRefused(problems: answer.complaint)
        default:
            throw CheckFailed("healthd on \(client.address) answers \(answer.status): \(answer.complaint)")
        }
    }
}

/// The daemon keeps its last good configuration.
struct ReloadRefused: Error {
    var problems: String
}
