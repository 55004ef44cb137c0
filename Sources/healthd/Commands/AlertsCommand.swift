import ArgumentParser
import FoundationEssentials
import Probes
import Vitals

struct AlertsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alerts", abstract: "Print the open alerts and how the receivers do, or try a receiver.",
        subcommands: [List.self, Test.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the open alerts and how each receiver does.")

        @OptionGroup var daemon: DaemonOptions
        @OptionGroup var output: JSONOption

        struct Alerts: Decodable {
            struct Alert: Decodable {
                var name: String
                var severity: String
                var state: String
                var ageSeconds: Double
                var reason: String
                /// Absent from an older daemon.
                var told: [String]?
            }

            struct Receiver: Decodable {
                var name: String
                var host: String
                var queued: Int
                var lastError: String?
                var failingForSeconds: Double?
                var isDisabled: Bool
            }

            var alerts: [Alert]
            var receivers: [Receiver]
            var outboxProblem: String?
        }

        func run() async throws {
            let client = try daemon.client()
            let answer = try await client.get("/api/alerts")
            let alerts = try client.decode(Alerts.self, from: answer)
            print(output.json ? answer.text : Self.text(alerts))
        }

        static func text(_ alerts: Alerts) -> String {
            var parts: [String] = []
            if alerts.alerts.isEmpty {
                parts.append("no alert is open")
            } else {
                var table = TextTable("ALERT", "SEVERITY", "STATE", "FOR", "TOLD", "WHY")
                for alert in alerts.alerts {
                    let told = alert.told.map { $0.isEmpty ? "nobody" : $0.joined(separator: ", ") } ?? "?"
                    table.add(alert.name, alert.severity, alert.state, Duration(clampingSeconds: alert.ageSeconds).text, told, alert.reason)
                }
                parts.append(table.text)
            }
            if alerts.receivers.isEmpty {
                parts.append("no receiver is configured")
            } else {
                var table = TextTable("RECEIVER", "AT", "QUEUED", "STATE")
                for receiver in alerts.receivers {
                    let failing = receiver.failingForSeconds.map { "failing for \(Duration(clampingSeconds: $0).text): \(receiver.lastError ?? "")" }
                    table.add(
                        receiver.name, receiver.host, "\(receiver.queued)",
                        receiver.isDisabled ? "disabled: it answered 410" : failing ?? "well")
                }
                parts.append(table.text)
            }
            if let problem = alerts.outboxProblem {
                parts.append("alert store: \(problem.oneLine(limit: 300))")
            }
            return parts.joined(separator: "\n\n")
        }
    }

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send a marked firing and its resolved to a receiver, from here, past the daemon's outbox.")

        @OptionGroup var options: ConfigurationOptions
        @OptionGroup var output: JSONOption
        @Argument(help: "The receiver's name, as in the configuration.")
        var receiver: String

        @Flag(help: .hidden)
        var embedded = false

        private struct Delivery: Encodable {
            var notice: String
            var accepted: Bool
            var answer: String
            var seconds: Double
        }

        func run() async throws {
            // Whether a database is named is no concern of a receiver's.
            let configuration = try options.source(mode: .embedded).load()
            guard let receiver = configuration.receivers.first(where: { $0.name == receiver }) else {
                throw CheckFailed(Self.complaint(about: self.receiver, among: configuration.receivers.map(\.name)))
            }
            let time = SystemTime()
            let sender = WebhookSender(version: ProgramVersion.number, time: time)
            let deliveries: [TestDelivery]
            do {
                deliveries = try await sendTest(
                    to: receiver, via: sender, instance: ProgramIdentity.name(listen: configuration.listen), externalURL: configuration.link, time: time)
            } catch {
                try? await sender.shutdown()
                throw error
            }
            try? await sender.shutdown()
            let results = deliveries.map { delivery in
                var accepted = false
                if case .accepted = delivery.answer { accepted = true }
                return Delivery(
                    notice: "\(delivery.status)", accepted: accepted, answer: delivery.answer.words, seconds: delivery.took.seconds)
            }
            if output.json {
                printJSON(results)
            } else {
                for result in results { print("\(result.notice): \(result.answer), \(Duration(clampingSeconds: result.seconds).text)") }
            }
            if results.contains(where: { !$0.accepted }) { throw CheckFailed() }
        }

        /// A receiver's address in the place of its name is a secret.
        static func complaint(about receiver: String, among names: [String]) -> String {
            let found =
                Quotation.kind(of: receiver).map { "\($0), stands where the name of a receiver is expected" }
                ?? "there is no receiver \"\(receiver.oneLine(limit: 100))\""
            return "\(found); configured: \(names.isEmpty ? "none" : names.sorted().joined(separator: ", "))"
        }
    }
}

extension DeliveryAnswer {
    /// How an attempt ended, for a person at a terminal.
    var words: String {
        let text =
            switch self {
            case .accepted: "accepted"
            case .tryAgain(_, let reason, nil): "not accepted this time: \(reason)"
            case .tryAgain(_, let reason, let after?): "not accepted this time, and asked for again in \(after.text): \(reason)"
            case .refused(let reason): "refused: \(reason)"
            case .gone(let reason): "refused for good: \(reason)"
            }
        return text.oneLine(limit: 300)
    }
}
