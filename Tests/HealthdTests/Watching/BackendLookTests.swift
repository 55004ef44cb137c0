@testable import AppCore
import Hummingbird
@testable import Probes
import TestServers
import Testing
import Vitals

@testable import healthd

@Suite struct `What backends wait for` {
    private static func holder(age: Duration, pid: Int = 7) -> PoolHolders.Holder {
        .init(
            purpose: "workspace.update", workClass: .background, detail: "task 1", statement: "UPDATE", fingerprint: "f", callSite: "A.swift:1",
            age: age, inTransaction: true, backendPID: pid)
    }

    private static let blocked = BackendWait(state: "active", event: "Lock:transactionid", blockedBy: [8])

    @Test(arguments: [
        // The lease was out already when the server was asked.
        (Duration.seconds(2), Duration.seconds(1), 7, true),
        (.seconds(1), .seconds(1), 7, true),
        // What was seen is an earlier lease of the same backend.
        (.milliseconds(900), .seconds(1), 7, false),
        (.seconds(2), .seconds(1), 9, false),
    ])
    func `a look tells of the leases that were out when it was taken, and of no other`(age: Duration, look: Duration, pid: Int, isTold: Bool) {
        let look = BackendLook(waits: [7: Self.blocked], age: look)
        #expect(look.wait(of: Self.holder(age: age, pid: pid)) == (isTold ? Self.blocked : nil))
    }

    @Test(arguments: [
        (BackendWait(state: "active"), nil),
        (BackendWait(state: "idle in transaction", event: "Client:ClientRead"), "waits for Client:ClientRead"),
        (BackendWait(event: "Lock:tuple", blockedBy: [4]), "waits for Lock:tuple, held by backend 4"),
        (BackendWait(event: "Lock:relation", blockedBy: [4, 5]), "waits for Lock:relation, held by backends 4, 5"),
    ] as [(BackendWait, String?)])
    func `a wait in words`(wait: BackendWait, text: String?) {
        #expect(wait.text == text)
    }

    @Test func `the last look ages until the next`() {
        let time = ManualTime()
        let looks = BackendLooks(time: time)
        #expect(looks.current() == nil)
        looks.record([7: Self.blocked], at: time.now())
        time.advance(by: .seconds(3))
        #expect(looks.current()?.age == .seconds(3))
        looks.record([:], at: time.now())
        #expect(looks.current()?.waits == [:])
    }

    @Test func `the document, the verb, the page and the evidence say it`() throws {
        var holders = HTTPSamples.holders()
        holders.holders = [Self.holder(age: .seconds(2)), Self.holder(age: .milliseconds(5))]
        let look = BackendLook(waits: [7: Self.blocked], age: .milliseconds(400))

        let document = try Response.jsonBytes(PoolHoldersDocument(holders, look: look, max: 2, asOf: HTTPSamples.wall))
        let json = try #require(JSONValue(text: String(decoding: document, as: UTF8.self)))
        guard case .array(let told)? = json["holders"], case .array(let waiters)? = json["waiters"] else {
            Issue.record("no lists")
            return
        }
        #expect(told[0]["class"]?.stringValue == "background" && waiters[0]["class"]?.stringValue == "background")
        #expect(told[0]["backend"]?["waitsFor"]?.stringValue == "Lock:transactionid")
        #expect(told[0]["backend"]?["blockedBy"]?.text == "[8]")
        #expect(told[0]["backend"]?["ageSeconds"]?.doubleValue == 0.4)
        #expect(told[1]["backend"] == nil)

        let decoded = try RequestProblem.decode(PoolHoldersDocument.self, from: document)
        let text = HoldersCommand.text(decoded)
        #expect(text.contains("background") && text.contains("Lock:transactionid, held by 8, 400 ms ago"), "\(text)")

        let page = Page.render(HTTPSamples.page(holders: holders, look: look), styleSheet: "/x")
        #expect(page.contains("<td>background</td>") && page.contains("waits for Lock:transactionid, held by backend 8"))

        let evidence = PoolWatch.evidence(holders, look: look)
        #expect(evidence.holders[0].text.hasSuffix("waits for Lock:transactionid held by 8"), "\(evidence.holders[0].text)")
        #expect(evidence.holders[0].workClass == "background" && evidence.waiters[0].workClass == "background")
    }

    @Test func `what an earlier daemon tells is still understood`() throws {
        let old = """
            {"asOf":"2026-11-24T03:12:45Z","max":2,"pool":"main",
             "holders":[{"purpose":"p","callSite":"A:1","since":"2026-11-24T03:12:44Z","ageSeconds":1,"inTransaction":false}],
             "waiters":[{"purpose":"p","callSite":"A:1","since":"2026-11-24T03:12:44Z","ageSeconds":1,"deadlineInSeconds":1}]}
            """
        let text = HoldersCommand.text(try RequestProblem.decode(PoolHoldersDocument.self, from: old.utf8))
        #expect(text.contains("1 of 2 connections are held"))
    }

    @Test func `evidence that an earlier version stored is still read`() throws {
        let old = #"{"holders":[{"purpose":"p","ageSeconds":2,"inTransaction":true}],"waiters":[{"purpose":"q","ageSeconds":1}],"omitted":0}"#
        let evidence = try RequestProblem.decode(Evidence.self, from: old.utf8)
        #expect(evidence.holders[0].text == "p for 2 s, in a transaction")
        #expect(evidence.holders[0].workClass == nil && evidence.waiters[0].workClass == nil)
    }

    @Test func `a caller blocked by a row lock says so, and by whom; from memory also when PostgreSQL is frozen`() async throws {
        try await WatchedDatabase.with { watched in
            let probed = DedicatedConnection(endpoint: watched.endpoint, applicationName: "healthd probe", loop: watched.loop)
            defer { probed.close() }
            let time = SystemTime()
            let looks = BackendLooks(time: time)
            let probe = PostgresWatch.probe(
                probed, interval: .seconds(1), timeout: .seconds(20), time: time,
                backends: { watched.pool.holders().holders.map(\.backendPID) }, looks: looks)
            try await watched.whileOneWaits {
                func told() throws -> [String: JSONValue] {
                    let document = try Response.jsonBytes(PoolHoldersDocument(watched.pool.holders(), look: looks.current(), max: 3, asOf: time.wallNow()))
                    guard case .array(let holders)? = JSONValue(text: String(decoding: document, as: UTF8.self))?["holders"] else { return [:] }
                    return Dictionary(uniqueKeysWithValues: holders.map { ($0["purpose"]?.stringValue ?? "", $0) })
                }
                // From the first look on after the second caller has reached the lock, and the first one's server its next read.
                try await until("the second caller is seen to be blocked, and the first to be idle") {
                    _ = try await probe.measure()
                    let told = try told()
                    return told["second"]?["backend"]?["blockedBy"]?.text ?? "[]" != "[]" && told["first"]?["backend"]?["waitsFor"]?.stringValue != nil
                }

                let first = try #require(try told()["first"])
                let second = try #require(try told()["second"])
                #expect(["Lock:transactionid", "Lock:tuple"].contains(second["backend"]?["waitsFor"]?.stringValue))
                #expect(second["backend"]?["state"]?.stringValue == "active")
                #expect(second["backend"]?["blockedBy"]?.text == "[\(try #require(first["backendPid"]?.intValue))]")
                #expect(first["backend"]?["state"]?.stringValue == "idle in transaction")
                #expect(first["backend"]?["waitsFor"]?.stringValue == "Client:ClientRead")
                #expect(first["inTransaction"] == true)

                watched.server.freeze()
                let before = try #require(second["backend"]?["ageSeconds"]?.doubleValue)
                let frozen = try #require(try told()["second"])
                #expect(frozen["backend"]?["waitsFor"] == second["backend"]?["waitsFor"])
                #expect(try #require(frozen["backend"]?["ageSeconds"]?.doubleValue) > before)
                watched.server.thaw()
            }
        }
    }

    @Test func `a second look that hangs is given up in time for the answer to the first`() async throws {
        let server = try await TestPostgres.start()
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let probed = DedicatedConnection(
            endpoint: PostgresEndpoint(keywords: ["host": server.socketDirectory, "user": "app", "dbname": "app"]),
            applicationName: "healthd probe", loop: loop)
        defer { probed.close() }
        let timeout = Duration.seconds(4)
        let probe = PostgresWatch.probe(
            probed, interval: .seconds(4), timeout: timeout, time: SystemTime(),
            backends: {
                server.freeze()
                return [1]
            }, looks: BackendLooks(time: SystemTime()))
        defer { server.thaw() }
        let began = MonotonicInstant.now()
        #expect(try await probe.measure().facts["role"] == "primary")
        #expect(.now() - began < timeout)
    }
}
