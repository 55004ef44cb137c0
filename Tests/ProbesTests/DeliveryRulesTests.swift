import FoundationEssentials
import Testing
import Vitals

@testable import Probes

@Suite struct `A webhook signature` {
    /// The example of the specification's reference libraries.
    @Test func `is the specification's`() {
        let signature = webhookSignature(
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body: Array(#"{"test": 2432232314}"#.utf8),
            secrets: [Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])
        #expect(signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test func `comes once per key while keys are rotated`() throws {
        let keys = [Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Secret("a plain old key")]
        let both = try #require(webhookSignature(id: "m", timestamp: 1, body: [], secrets: keys))
        let each = keys.compactMap { webhookSignature(id: "m", timestamp: 1, body: [], secrets: [$0]) }
        #expect(both == each.joined(separator: " "))
        #expect(each[0] != each[1])
    }

    @Test func `changes with id, time, body and key, and is left out without a key`() {
        let key = [Secret("key")]
        let all = [
            webhookSignature(id: "a", timestamp: 1, body: [1], secrets: key), webhookSignature(id: "b", timestamp: 1, body: [1], secrets: key),
            webhookSignature(id: "a", timestamp: 2, body: [1], secrets: key), webhookSignature(id: "a", timestamp: 1, body: [2], secrets: key),
            webhookSignature(id: "a", timestamp: 1, body: [1], secrets: [Secret("other")]),
        ]
        #expect(Set(all).count == 5)
        #expect(webhookSignature(id: "a", timestamp: 1, body: [], secrets: []) == nil)
    }
}

@Suite struct `A receiver` {
    @Test(arguments: [
        ("", "https://example.org/canary", ""), ("oncall", "canary", ""), ("oncall", "ftp://example.org/canary", ""),
        ("oncall", "https://example.org/canary", "whsec_canary***"),
    ])
    func `that cannot be used says why, without its secrets`(_ name: String, _ url: String, _ secret: String) throws {
        let problem = #expect(throws: ReceiverProblem.self) {
            try Receiver(name: name, url: url, secrets: secret.isEmpty ? [] : [Secret(secret)])
        }
        #expect(problem.map { !$0.description.contains("canary") } == true)
    }

    @Test func `shows its host and hides the rest`() throws {
        let receiver = try Receiver(name: "oncall", url: "https://example.org:8443/services/T0/B0/canary")
        #expect(receiver.host == "example.org:8443")
        #expect(!"\(receiver)".contains("canary"))
    }
}

@Suite struct `An answer` {
    let now = WallTime(rfc3339: "2026-11-24T03:12:00Z") ?? WallTime(secondsSince1970: 0)

    @Test(arguments: [200, 202, 204, 299]) func `of 2xx is success`(_ status: Int) {
        #expect(DeliveryAnswer.answer(status: status, retryAfter: nil, quote: "", now: now) == .accepted(status: status))
    }

    @Test(arguments: [408, 425, 429, 500, 502, 503, 504, 599]) func `that may pass is tried again`(_ status: Int) {
        let answer = DeliveryAnswer.answer(status: status, retryAfter: "7", quote: "", now: now)
        guard case .tryAgain(.httpError, let reason, .seconds(7)) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(reason.hasPrefix("HTTP \(status)"))
    }

    @Test(arguments: [301, 302, 307, 400, 401, 403, 404, 413, 422, 100]) func `that stays until somebody acts is a refusal`(_ status: Int) {
        let answer = DeliveryAnswer.answer(status: status, retryAfter: "7", quote: "", now: now)
        guard case .refused = answer else {
            Issue.record("\(answer)")
            return
        }
    }

    @Test func `of 410 ends it all, and says what the receiver said`() {
        let answer = DeliveryAnswer.answer(status: 410, retryAfter: nil, quote: "channel is archived", now: now)
        guard case .gone(let reason) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(reason == "HTTP 410 Gone: channel is archived; it wants no more notices")
    }

    @Test(arguments: [
        (401, "HTTP 401 Unauthorized; is the webhook's address complete?"), (404, "HTTP 404 Not Found; is the webhook's address right?"),
        (503, "HTTP 503 Service Unavailable"), (422, "HTTP 422; it takes no notices as healthd sends them"),
    ])
    func `that says nothing is explained`(_ status: Int, _ words: String) {
        switch DeliveryAnswer.answer(status: status, retryAfter: nil, quote: "", now: now) {
        case .refused(let reason), .tryAgain(_, let reason, _): #expect(reason == words)
        case let other: Issue.record("\(other)")
        }
    }

    @Test(arguments: [
        ("0", Duration.seconds(0)), ("120", .seconds(120)), (" 5 ", .seconds(5)), ("999999999", .seconds(3_600)),
        ("Tue, 24 Nov 2026 03:12:30 GMT", .seconds(30)), ("Tue, 24 Nov 2026 03:11:30 GMT", .zero),
        ("Wed, 25 Nov 2026 03:12:30 GMT", .seconds(3_600)),
        // The two older forms of RFC 9110, 5.6.7, which must be understood as well.
        ("Tuesday, 24-Nov-26 03:12:30 GMT", .seconds(30)), ("Tue Nov 24 03:12:30 2026", .seconds(30)), ("Sun Nov  6 08:49:37 1994", .zero),
        ("Sunday, 06-Nov-94 08:49:37 GMT", .zero), ("Friday, 24-Nov-76 03:12:30 GMT", .seconds(3_600)),
        ("Wednesday, 24-Nov-77 03:12:30 GMT", .zero),
    ])
    func `A14: may name the time of the next attempt`(_ text: String, _ delay: Duration) {
        #expect(DeliveryAnswer.delay(text, now: now) == delay)
    }

    @Test(arguments: ["", "soon", "-1", "1.5", "Tue, 24 Nov 2026", "Tue, 24 Foo 2026 03:12:30 GMT", "Tue, 99 Nov 2026 03:12:30 GMT",
        "Tuesday, 24-Nov-2026 03:12:30 GMT", "Tuesday, 24-Nov-26 03:12:30 CET", "Tue Nov 24 03:12:30", "Tue Nov 24 2026 03:12:30", "a b c d e"])
    func `that names nonsense names nothing`(_ text: String) {
        #expect(DeliveryAnswer.delay(text, now: now) == nil)
    }
}

@Suite struct `The retry book` {
    private func delivery(_ alert: String, _ sequence: Int64 = 1) -> Delivery {
        var state = AlertState()
        state.startsAt = WallTime(secondsSince1970: 1_800_000_000)
        let record = AlertRecord(rule: alert, component: "pool", instance: "a", unit: .ratio, state: state)
        let notice = record.notice(id: "healthd_\(sequence)", why: .firing, at: WallTime(secondsSince1970: 1_800_000_000))
        return Delivery(sequence: sequence, recipient: named("oncall"), attempts: 0, notice: notice)
    }

    @Test func `sends the oldest head and waits for nothing when there is none`() {
        let book = RetryBook()
        #expect(book.next(among: [delivery("a", 1), delivery("b", 2)], now: .start) == .send(delivery("a", 1)))
        #expect(book.next(among: [], now: .start) == .wait(until: nil))
    }

    @Test func `lets a failing alert delay only itself`() {
        var book = RetryBook()
        var random = Seeded(7)
        book.failed(delivery("a", 1), retryAfter: nil, now: .start, using: &random)
        #expect(book.next(among: [delivery("a", 1), delivery("b", 2)], now: .start) == .send(delivery("b", 2)))
        guard case .wait(let until?) = book.next(among: [delivery("a", 1)], now: .start) else {
            Issue.record("expected a wait")
            return
        }
        #expect(book.next(among: [delivery("a", 1)], now: until) == .send(delivery("a", 1)))
    }

    @Test func `lets what an alert says next go at once, however long the notice before it was refused`() {
        var book = RetryBook()
        var random = Seeded(7)
        for _ in 0..<10 { book.failed(delivery("a", 1), retryAfter: nil, now: .start, using: &random) }
        #expect(book.next(among: [delivery("a", 2)], now: .start) == .send(delivery("a", 2)))
        // Nor is it remembered for ever what has ended otherwise.
        book.forgetAll(but: [])
        #expect(book.next(among: [delivery("a", 1)], now: .start) == .send(delivery("a", 1)))
    }

    @Test func `takes Retry-After for the whole receiver, and as a lower bound`() {
        var book = RetryBook()
        var random = Seeded(7)
        book.failed(delivery("a", 1), retryAfter: .seconds(30), now: .start, using: &random)
        let heads = [delivery("a", 1), delivery("b", 2)]
        #expect(book.next(among: heads, now: .start) == .wait(until: .start + .seconds(30)))
        guard case .send = book.next(among: heads, now: .start + .seconds(30)) else {
            Issue.record("expected a delivery")
            return
        }
    }

    @Test func `tries everything at once when the receiver is back`() {
        var book = RetryBook()
        var random = Seeded(7)
        for _ in 0..<8 { book.failed(delivery("a", 1), retryAfter: nil, now: .start, using: &random) }
        book.succeeded(delivery("b", 2), now: .start)
        #expect(book.next(among: [delivery("a", 1)], now: .start) == .send(delivery("a", 1)))
        #expect(book.outageSince == nil)
    }

    @Test func `sends nothing to a receiver that is gone until it is configured anew`() {
        var book = RetryBook()
        book.disable()
        #expect(book.next(among: [delivery("a")], now: .start) == .wait(until: nil))
        book.reset()
        #expect(book.next(among: [delivery("a")], now: .start) == .send(delivery("a")))
    }

    @Test(arguments: 1...20) func `spreads its delays over the whole range, and is eager while an outage is young`(_ seed: UInt64) {
        let policy = RetryPolicy()
        var book = RetryBook(policy: policy)
        var random = Seeded(seed)
        var now = MonotonicInstant.start
        var delays: [Duration] = []
        while now - .start < .seconds(3_600) {
            book.failed(delivery("a"), retryAfter: nil, now: now, using: &random)
            guard case .wait(let until?) = book.next(among: [delivery("a")], now: now) else { continue }
            let outage = now - .start
            #expect(until - now <= max(.seconds(5), outage / 4))
            #expect(until - now <= .seconds(300))
            delays.append(until - now)
            now = until
        }
        #expect(Set(delays).count > delays.count / 2, "no two callers line up")
    }

    @Test func `doubles its ceiling up to the cap`() {
        let policy = RetryPolicy()
        let hour = Duration.seconds(7_200)
        #expect((1...10).map { policy.ceiling(attempt: $0, outage: hour).seconds } == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300])
        #expect((1...5).map { policy.ceiling(attempt: $0, outage: .seconds(10)).seconds } == [1, 2, 4, 5, 5])
    }
}

@Suite struct `A webhook body` {
    static let evidence = Evidence(
        holders: [
            .init(
                purpose: "workspace.overview", detail: "GET /api/workspaces/{id}/overview", statement: "SELECT pg_sleep($1)",
                callSite: "AppCore/Overview.swift:41", ageSeconds: 2.1, inTransaction: true, backendPID: 4711)
        ],
        waiters: [.init(purpose: "tasks.claim", ageSeconds: 0.4, deadlineInSeconds: 1.6)])

    private func notice(_ why: NoticeReason) -> Notice {
        var state = AlertState()
        state.startsAt = WallTime(rfc3339: "2026-11-24T03:12:45.120Z")
        state.severity = .critical
        state.reason = "pool saturation 150 %, critical from 95 %"
        state.value = 1.5
        state.threshold = 0.95
        state.peak = 1.5
        state.goodSince = WallTime(rfc3339: "2026-11-24T03:14:45.120Z")
        if why == .resolved {
            state.reason = "pool saturation 10 %"
            state.value = 0.1
        }
        let record = AlertRecord(
            rule: "pool-saturation", component: "pool", instance: "web-1:9798", unit: .ratio, state: state, evidence: Self.evidence)
        return record.notice(
            id: "healthd_0f1e", why: why, at: WallTime(rfc3339: "2026-11-24T03:14:45.120Z") ?? WallTime(secondsSince1970: 0))
    }

    private func text(_ why: NoticeReason) throws -> String {
        String(
            decoding: try WebhookBody(notice(why), receiver: "oncall", externalURL: "http://web-1:9798").bytes(), as: UTF8.self)
    }

    @Test func `of a firing is this, to the byte`() throws {
        let body = try text(.firing)
        #expect(body == Goldens.firing)
    }

    @Test func `of a resolved is this, to the byte`() throws {
        let body = try text(.resolved)
        #expect(body == Goldens.resolved)
    }

    @Test func `stays below 20 kB with more evidence than fits`() throws {
        var crowded = notice(.firing)
        crowded.evidence = Evidence(
            holders: (0..<200).map {
                .init(
                    purpose: String(repeating: "p", count: 500), detail: String(repeating: "d", count: 500),
                    statement: String(repeating: "s", count: 5_000), ageSeconds: Double($0))
            },
            waiters: (0..<200).map { .init(purpose: String(repeating: "w", count: 500), ageSeconds: Double($0)) })
        let bytes = try WebhookBody(crowded, receiver: "oncall", externalURL: "http://web-1:9798").bytes()
        #expect(bytes.count < 20_000)
        #expect(crowded.evidence?.omitted == 380)
        #expect(crowded.evidence?.holders.first?.ageSeconds == 199)
    }
}
