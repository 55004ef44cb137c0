import Blackbox
import FoundationEssentials
import Glibc
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// The first alert, end to end: a full pool, a page to a person, and the all-clear.
    @Suite struct SaturationTests {
        static let secret = "whsec_" + Data((0..<32).map { UInt8($0) }).base64EncodedString()

        /// - Parameter leaveAfter: the dwell; short, so that tests are. The default of 10 s is tested where the rule is.
        static func settings(_ neighbours: Neighbourhood, _ receiver: WebhookReceiver, secretFile: String, leaveAfter: String = "1s") -> String {
            neighbours.settings(
                poolMax: 2,
                more: """
                    rules:
                      pool-saturation: { degraded: 0.80, critical: 0.95, leave: 0.70, enter-after: 0s, leave-after: \(leaveAfter) }
                    receivers:
                      - { name: oncall, webhook: "\(receiver.url)", secret-file: \(secretFile) }
                    """)
        }

        /// Three callers on a pool of two, each running `pg_sleep`. Answers when they were let loose.
        static func hold(_ healthd: Healthd, seconds: Int) async throws {
            let answer = try await healthd.web.post("/api/demo/hold", #"{"callers":3,"seconds":\#(seconds)}"#, within: .seconds(30))
            guard (200..<300).contains(answer.status) else { throw TestServerError("hold: \(answer.status) \(answer.text)") }
        }

        static func poolDeliveries(_ receiver: WebhookReceiver, _ status: String) -> [WebhookReceiver.Delivery] {
            receiver.accepted.filter { $0.status == status && $0.body.contains("pool") }
        }

        @Test func `a full pool is told within a second, with who holds it; and the all-clear once`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare(seed: false)
            let receiver = WebhookReceiver(port: try unusedPort())
            try await receiver.open()
            let folder = try TemporaryFolder("alert")
            let secretFile = try folder.write(Self.secret, to: "secret")
            let healthd = try await Healthd.start(Self.settings(neighbours, receiver, secretFile: secretFile), arguments: ["--demo"])
            try await eventually("calm") { try await healthd.verdict("pool") == "healthy" }

            let began = MonotonicInstant.now()
            async let held: Void = Self.hold(healthd, seconds: 3)
            try await eventually("firing") { !Self.poolDeliveries(receiver, "firing").isEmpty }
            let firing = try #require(Self.poolDeliveries(receiver, "firing").first)
            #expect(firing.at - began < promise(.seconds(1), "a full pool is told of, with who holds it"), "it took \(firing.at - began)")
            #expect(firing.isSigned(with: Self.secret))

            // The person who reads it must see who holds the connections: purpose, statement, age.
            #expect(firing.json["version"].string == "4")
            #expect(firing.body.contains("demo"), "no purpose in \(firing.body)")
            #expect(firing.body.contains("pg_sleep"), "no statement in \(firing.body)")
            #expect(firing.body.lowercased().contains("wait"), "no waiters in \(firing.body)")

            // While it lasts every surface agrees.
            #expect(try await healthd.verdict("pool") == "critical")
            #expect(try await healthd.web.get("/api/health/pool").status == 200)
            #expect(try await healthd.web.get("/api/health/pool").json["status"].string == "critical")
            let holders = try await healthd.web.get("/api/health/pool/holders").json
            #expect(holders.description.contains("pg_sleep"))
            try await held

            try await eventually("resolved") { !Self.poolDeliveries(receiver, "resolved").isEmpty }
            let resolved = try #require(Self.poolDeliveries(receiver, "resolved").first)
            // Two of three hold for three seconds, and then the third alone is half of the pool; the dwell comes on top.
            #expect(resolved.at - began > promise(.seconds(4), "the all-clear comes after the last holder and the dwell"))
            try await steadily("told once", for: .seconds(2)) {
                Self.poolDeliveries(receiver, "resolved").count == 1 && Self.poolDeliveries(receiver, "firing").count == 1
            }
            #expect(firing.json["groupKey"] == resolved.json["groupKey"])
            try await receiver.close()
        }

        @Test func `neither a dead receiver nor a killed daemon loses a notice`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare(seed: false)
            let receiver = WebhookReceiver(port: try unusedPort())
            let folder = try TemporaryFolder("alert")
            let secretFile = try folder.write(Self.secret, to: "secret")
            let settings = Self.settings(neighbours, receiver, secretFile: secretFile)

            // Nobody listens at the receiver's address while the pool fills up, and healthd dies in the middle of it.
            let first = try await Healthd.start(settings, arguments: ["--demo"])
            try await eventually("calm") { try await first.verdict("pool") == "healthy" }
            async let held: Void? = try? Self.hold(first, seconds: 3)
            try await eventually("critical") { try await first.verdict("pool") == "critical" }
            try await eventually("an alert is open") { try await first.web.get("/api/alerts").text.contains("firing") }
            try await first.end(with: SIGKILL)
            await held

            let second = try await Healthd.start(settings, arguments: ["--demo"], folder: first.folder)
            try await receiver.open()
            try await eventually("both arrive", within: .seconds(60)) {
                !Self.poolDeliveries(receiver, "firing").isEmpty && !Self.poolDeliveries(receiver, "resolved").isEmpty
                    || receiver.accepted.contains { $0.body.contains("firing") && $0.body.contains("resolved") }
            }
            let order = receiver.accepted.map(\.status)
            #expect(order.last == "resolved", "the last word is \(order)")
            try await second.end()
            try await receiver.close()
        }

        @Test func `a receiver that refuses gets the same notice again, under the same id`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare(seed: false)
            let receiver = WebhookReceiver(port: try unusedPort())
            receiver.answer(with: 503)
            try await receiver.open()
            let folder = try TemporaryFolder("alert")
            let secretFile = try folder.write(Self.secret, to: "secret")
            let healthd = try await Healthd.start(Self.settings(neighbours, receiver, secretFile: secretFile), arguments: ["--demo"])
            try await eventually("calm") { try await healthd.verdict("pool") == "healthy" }
            async let held: Void = Self.hold(healthd, seconds: 1)
            try await eventually("refused twice") { receiver.deliveries.count >= 2 }
            receiver.answer(with: 200)
            try await held
            try await eventually("accepted", within: .seconds(60)) { !receiver.accepted.isEmpty }
            let refused = receiver.deliveries.filter { $0.answered == 503 }
            #expect(Set(refused.filter { $0.status == refused[0].status }.map(\.id)).count == 1)
            #expect(receiver.deliveries.allSatisfy { $0.isSigned(with: Self.secret) })
            try await receiver.close()
        }
    }
}
