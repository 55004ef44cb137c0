@testable import AppCore
import AsyncHTTPClient
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOHTTP1
@testable import Probes
import Synchronization
import TestServers
import Testing
import Vitals

@testable import healthd

/// Routes behind a real listener on a port of the system's choice, asked by a real client.
@Suite struct `HTTP server` {
    struct Answer {
        var status: Int
        var headers: HTTPHeaders
        var body: String

        var json: JSONValue? { JSONValue(text: body) }
    }

    struct Server: Sendable {
        let port: Int
        let statistics: HTTPStatistics

        func send(
            _ method: HTTPMethod = .GET, _ path: String, _ headers: [(String, String)] = [], body: String? = nil
        ) async throws -> Answer {
            var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
            request.method = method
            for (name, value) in headers { request.headers.add(name: name, value: value) }
            if let body { request.body = .bytes(ByteBuffer(string: body)) }
            let response = try await HTTPClient.shared.execute(request, timeout: .seconds(20))
            let bytes = try await response.body.collect(upTo: 4 << 20)
            return Answer(status: Int(response.status.code), headers: response.headers, body: String(buffer: bytes))
        }
    }

    /// Runs a server with the given routes for as long as `body` takes.
    static func serve<Result: Sendable>(
        _ add: (inout Routes) -> Void, time: any TimeSource = SystemTime(), routeLogger: Logger? = nil, _ body: @Sendable (Server) async throws -> Result
    ) async throws -> Result {
        let statistics = HTTPStatistics()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var routes = Routes(statistics: statistics, time: time, logger: routeLogger ?? logger)
        add(&routes)
        let bound = AsyncStream.makeStream(of: Int.self)
        let application = Application(
            router: routes.finished(), configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { bound.continuation.yield($0.localAddress?.port ?? 0) }, logger: logger)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await application.run() }
            var ports = bound.stream.makeAsyncIterator()
            let port = try #require(await ports.next())
            defer { group.cancelAll() }
            return try await body(Server(port: port, statistics: statistics))
        }
    }

    struct Body: Codable {
        struct Part: Codable { var size: Int }
        var name: String
        var parts: [Part]
    }

    static func addSamples(_ routes: inout Routes) {
        routes.on(.get, "/things/{id}", as: "thing") { _, context in .text(try context.part("id")) }
        routes.on(.post, "/things", as: "thing_create") { request, _ in try await .json(request.json(Body.self), status: .created) }
        routes.on(.get, "/limit", as: "limit") { request, _ in .text("\(try request.query("limit", in: 1...10, default: 5))") }
        routes.on(.get, "/unforeseen", as: "unforeseen") { _, _ in throw PostgresError.decoding(column: "secret", reason: "?") }
        routes.on(.get, "/detail", as: "detail", within: .seconds(3)) { _, _ in
            let left = Deadline.current.map { $0.remaining(at: .now()).seconds } ?? -1
            return .text("\(Work.detail ?? "none"), \(left > 0 && left <= 3)")
        }
    }

    @Test(
        arguments: [
            (HTTPMethod.GET, "/things/7", nil, 200, nil, "7"),
            (.HEAD, "/things/7", nil, 200, nil, ""),
            (.GET, "/nothing/here", nil, 404, "no_such_route", "/nothing/here"),
            (.GET, "/", nil, 404, "no_such_route", "/"),
            (.DELETE, "/things/7", nil, 405, "method_not_allowed", "GET, HEAD"),
            (.GET, "/things", nil, 405, "method_not_allowed", "POST"),
            (.POST, "/things", #"{"name":"a","parts":[{"size":1}]}"#, 201, nil, "parts"),
            (.POST, "/things", #"{"parts":[]}"#, 400, "invalid", "name"),
            (.POST, "/things", #"{"name":"a","parts":[{"size":1},{"size":"x"}]}"#, 400, "invalid", "parts[1].size"),
            (.POST, "/things", #"{"name":null,"parts":[]}"#, 400, "invalid", "name"),
            (.POST, "/things", "{", 400, "invalid", "body"),
            (.POST, "/things", "", 400, "invalid", "body is empty"),
            (.POST, "/things", String(repeating: "x", count: 1_048_577), 413, "body_too_large", "1024 KiB"),
            (.GET, "/limit", nil, 200, nil, "5"),
            (.GET, "/limit?limit=10", nil, 200, nil, "10"),
            (.GET, "/limit?limit=11", nil, 400, "invalid", "limit is"),
            (.GET, "/limit?limit=ten", nil, 400, "invalid", "1 to 10"),
            (.GET, "/unforeseen", nil, 500, "internal", "log"),
            (.GET, "/detail", nil, 200, nil, "GET /detail, true"),
        ] as [(HTTPMethod, String, String?, Int, String?, String)])
    func `every request has its answer`(
        method: HTTPMethod, path: String, body: String?, status: Int, code: String?, part: String
    ) async throws {
        let answer = try await Self.serve(Self.addSamples) { try await $0.send(method, path, body: body) }
        #expect(answer.status == status, "\(answer.body.prefix(300))")
        #expect(answer.body.contains(part) || part.isEmpty, "\(answer.body.prefix(300))")
        if let code {
            #expect(answer.json?["error"]?.stringValue == code)
            #expect(answer.headers.first(name: "content-type") == "application/json")
        }
        if status == 405 { #expect(answer.headers.first(name: "allow") == part) }
        #expect(!answer.body.contains("secret"))
    }

    @Test func `a form is not mistaken for JSON`() async throws {
        let answer = try await Self.serve(Self.addSamples) {
            try await $0.send(.POST, "/things", [("content-type", "text/plain")], body: #"{"name":"a","parts":[]}"#)
        }
        #expect(answer.status == 415)
    }

    @Test(arguments: ["Content-Length: 100\r\n\r\n{\"name\"", "Transfer-Encoding: chunked\r\n\r\n8\r\n{\"name\":\r\n"])
    func `A14: a client that leaves in the middle of its body is no error of ours`(_ rest: String) async throws {
        let lines = LogLines()
        let snapshot = try await Self.serve(Self.addSamples, routeLogger: lines.logger) { server in
            var client: RawClient? = try RawClient(port: server.port)
            try client?.send("POST /things HTTP/1.1\r\nHost: x\r\n" + rest)
            try await until("it is being read") { server.statistics.snapshot().inFlight["thing_create"] == 1 }
            client = nil
            try await until("it is over") { server.statistics.snapshot().inFlight["thing_create"] == 0 }
            return server.statistics.snapshot()
        }
        #expect(snapshot.durations.keys.map(\.code) == ["499"])
        #expect(lines.all == [])
    }

    @Test func `what nobody foresaw is in the log with its route and its reason, and what a client did wrong is not`() async throws {
        let lines = LogLines()
        try await Self.serve(Self.addSamples, routeLogger: lines.logger) { server in
            for path in ["/things/1", "/limit?limit=x", "/nowhere"] { _ = try await server.send(.GET, path) }
            #expect(lines.all == [])
            #expect(try await server.send(.GET, "/unforeseen").status == 500)
        }
        #expect(lines.all.count == 1)
        let line = lines.all.first ?? ""
        #expect(line.hasPrefix("error request failed ") && line.hasSuffix(" route=GET /unforeseen") && line.contains("secret"), "\(line)")
    }

    @Test func `requests are counted by route and class`() async throws {
        let snapshot = try await Self.serve(Self.addSamples) { server in
            for path in ["/things/1", "/things/2", "/limit?limit=x", "/nowhere"] { _ = try await server.send(.GET, path) }
            return server.statistics.snapshot()
        }
        #expect(snapshot.durations[.init(handler: "thing", code: "2xx")]?.count == 2)
        #expect(snapshot.durations[.init(handler: "limit", code: "4xx")]?.count == 1)
        #expect(snapshot.durations[.init(handler: "unknown", code: "4xx")]?.count == 1)
        #expect(snapshot.inFlight.values.allSatisfy { $0 == 0 })
    }

    @Test func `metrics come in the format and encoding asked for`() async throws {
        let time = ManualTime(wall: HTTPSamples.wall)
        let exposition = `Exposition of everything`.snapshots(time).exposition()
        try await Self.serve({ addMetricsRoutes(to: &$0, exposition: exposition) }) { server in
            let text = try await server.send(.GET, "/metrics")
            #expect(text.headers.first(name: "content-type") == "text/plain; version=0.0.4; charset=utf-8")
            #expect(text.headers.first(name: "vary") == "Accept, Accept-Encoding")
            #expect(text.body.contains("healthd_pool_waiters{pool=\"main\"} 1\n"))
            let open = try await server.send(
                .GET, "/metrics", [("accept", "application/openmetrics-text;version=1.0.0"), ("accept-encoding", "gzip")])
            #expect(open.headers.first(name: "content-type") == "application/openmetrics-text; version=1.0.0; charset=utf-8")
            #expect(open.headers.first(name: "content-encoding") == "gzip")
        }
    }

    @Test func `health, readiness, alerts and the page answer from snapshots`() async throws {
        let time = ManualTime(wall: HTTPSamples.wall)
        let snapshots = `Exposition of everything`.snapshots(time)
        try await Self.serve { routes in
            addHealthRoutes(
                to: &routes, identity: snapshots.identity, board: snapshots.board, pool: snapshots.pool, holders: snapshots.holders,
                time: time)
            addAlertRoutes(to: &routes, alerts: snapshots.alerts, time: time)
            addPageRoutes(to: &routes, assets: Assets()) { snapshots.page() }
            addProbeRoutes(
                to: &routes, liveness: [SelfCheck("event-loop") { nil }],
                readiness: [SelfCheck("migrations") { "0001_core.sql is not applied" }])
        } _: { server in
            let health = try await server.send(.GET, "/api/health")
            #expect(health.status == 503)
            #expect(health.headers.first(name: "content-type") == "application/health+json")
            let pool = try await server.send(.GET, "/api/health/pool")
            #expect(pool.status == 200)
            #expect(pool.body == #"{"totalCount":2,"idleCount":0,"waitingCount":1,"status":"critical"}"#)
            #expect(try await server.send(.GET, "/api/health/pool/holders").body.contains("pg_sleep"))
            #expect(try await server.send(.GET, "/api/alerts").body.contains("firing"))
            #expect(try await server.send(.GET, "/livez").body == "ok")
            let ready = try await server.send(.GET, "/readyz")
            #expect(ready.status == 503 && ready.body.contains("[-]migrations failed: 0001_core.sql is not applied"))
            #expect(try await server.send(.GET, "/readyz?exclude=migrations").status == 200)
            #expect(try await server.send(.GET, "/livez?verbose").body == "[+]event-loop ok\nlivez check passed\n")
            let page = try await server.send(.GET, "/")
            #expect(page.headers.first(name: "content-security-policy")?.hasPrefix("default-src 'none'; style-src 'self'") == true)
            #expect(page.headers.first(name: "cache-control") == "no-store")
            let path = Assets().styleSheetPath
            #expect(page.body.contains(path))
            #expect(try await server.send(.GET, path).headers.first(name: "cache-control")?.contains("immutable") == true)
            #expect(try await server.send(.GET, Assets.styleSheetRoute).headers.first(name: "cache-control") == "no-cache")
        }
    }

    @Test(arguments: [(0.1, 200), (0.85, 200), (1.5, 503), (nil, 200)] as [(Double?, Int)])
    func `only what is critical takes healthd out of a load balancer`(saturation: Double?, status: Int) async throws {
        let time = ManualTime(wall: HTTPSamples.wall)
        let snapshots = `Exposition of everything`.snapshots(time)
        // Nil: nothing has been seen yet.
        let board = (saturation.map { HTTPSamples.board(saturation: $0, time: time) } ?? HealthBoard(rules: [.answers("redis")], time: time)).snapshot()
        let answer = try await Self.serve {
            addHealthRoutes(to: &$0, identity: snapshots.identity, board: { board }, pool: snapshots.pool, holders: snapshots.holders, time: time)
        } _: {
            try await $0.send(.GET, "/api/health")
        }
        #expect(answer.status == status)
    }

    @Test func `a reload answers what it did, or what is wrong`() async throws {
        let answers = Mutex([
            Result<String, any Error>.success("2 rules changed"), .failure(RequestProblem.conflict("listen is \"x\"")),
        ])
        try await Self.serve {
            addOperationsRoutes(to: &$0) { try answers.withLock { $0.removeFirst() }.get() }
        } _: { server in
            #expect(try await server.send(.POST, "/-/reload", [("sec-fetch-site", "cross-site")]).status == 403)
            let good = try await server.send(.POST, "/-/reload")
            #expect(good.status == 200 && good.body == "2 rules changed\n")
            let bad = try await server.send(.POST, "/-/reload")
            #expect(bad.status == 422 && bad.json?["error"] == "configuration_rejected")
            #expect(bad.json?["message"]?.stringValue == "listen is \"x\"")
            #expect(try await server.send(.GET, "/-/reload").status == 405)
        }
    }

    /// Reads a body piece by piece; what was found is not found again.
    struct Reader {
        private var pieces: HTTPClientResponse.Body.AsyncIterator
        private var text = ""

        init(_ body: HTTPClientResponse.Body) { pieces = body.makeAsyncIterator() }

        mutating func read(until part: String) async throws {
            while !text.contains(part) {
                guard let piece = try await pieces.next(isolation: #isolation) else { break }
                text += String(buffer: piece)
            }
            #expect(text.contains(part), "\(text)")
            if let range = text.firstRange(of: part) { text.removeSubrange(..<range.upperBound) }
        }

        mutating func readToEnd() async throws {
            while let piece = try await pieces.next(isolation: #isolation) { text += String(buffer: piece) }
        }
    }

    /// Events that a test sends one by one.
    static func addStream(_ routes: inout Routes, _ events: AsyncStream<ServerSentEvent>, time: any TimeSource) {
        routes.on(.get, "/stream", as: "stream") { request, context in
            EventStream.response(to: request, context, time: time, events: events)
        }
    }

    @Test func `a stream speaks at once, beats while silent, and ends with a time to come back`() async throws {
        let time = ManualTime()
        let (events, source) = AsyncStream.makeStream(of: ServerSentEvent.self)
        try await Self.serve({ Self.addStream(&$0, events, time: time) }) { server in
            let response = try await HTTPClient.shared.execute(
                HTTPClientRequest(url: "http://127.0.0.1:\(server.port)/stream"), timeout: .seconds(20))
            #expect(response.headers.first(name: "content-type") == "text/event-stream")
            #expect(response.headers.first(name: "cache-control") == "no-store, no-transform")
            #expect(response.headers.first(name: "x-accel-buffering") == "no")
            #expect(response.headers.first(name: "content-length") == nil)
            var reader = Reader(response.body)
            try await reader.read(until: "retry: ")
            try await reader.read(until: "\n: healthd\n\n")
            try await time.untilAsleep()
            time.advance(by: EventStream.heartbeat)
            try await reader.read(until: ": alive\n\n")
            source.yield(ServerSentEvent(id: "b-1", event: "step:started", data: "one\ntwo"))
            try await reader.read(until: "id: b-1\nevent: step:started\ndata: one\ndata: two\n\n")
            source.finish()
            try await reader.read(until: "retry: ")
            try await reader.readToEnd()
        }
    }

    @Test func `a client that leaves ends its stream`() async throws {
        let (events, source) = AsyncStream.makeStream(of: ServerSentEvent.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        source.onTermination = { _ in end.finish() }
        try await Self.serve({ Self.addStream(&$0, events, time: SystemTime()) }) { server in
            do {
                let response = try await HTTPClient.shared.execute(
                    HTTPClientRequest(url: "http://127.0.0.1:\(server.port)/stream"), timeout: .seconds(20))
                var body = response.body.makeAsyncIterator()
                _ = try await body.next()
                // The client's end is let go here.
            }
            for await _ in ended {}
        }
    }

    @Test(
        arguments: [
            (EventHub.TooManyStreams(limit: 200), true), (PoolError.shuttingDown, true),
            (RequestProblem.notFound(what: "task"), false),
        ] as [(any Error, Bool)])
    func `what will pass is told in an event, what will not ends the client for good`(error: any Error, passes: Bool) async throws {
        guard passes else {
            #expect(throws: RequestProblem.self) { try EventStream.refusal(of: error) }
            return
        }
        let response = try EventStream.refusal(of: error)
        #expect(response.status == .ok)
        let collector = BodyCollector()
        try await response.body.write(collector)
        #expect(collector.text.contains(/^retry: \d+\nevent: busy\ndata: \{/))
    }
}
