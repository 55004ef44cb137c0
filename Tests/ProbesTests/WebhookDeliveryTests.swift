import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TestServers
import Testing
import Vitals

@testable import Probes

/// Delivery over real sockets, to a real HTTP server in this process.
@Suite(.timeLimit(.minutes(3))) struct `A webhook` {
    let time = SystemTime()
    let scratch: Scratch
    let lines = LogLines()
    /// As in production, only faster.
    let policy = RetryPolicy(backoff: Backoff(base: .milliseconds(10), cap: .milliseconds(50)), eager: .milliseconds(50))

    init() throws { scratch = try Scratch() }

    private func withSender<R>(_ body: (WebhookSender) async throws -> R) async throws -> R {
        let sender = WebhookSender(version: "0.1.0", time: time)
        do {
            let result = try await body(sender)
            try await sender.shutdown()
            return result
        } catch {
            try await sender.shutdown()
            throw error
        }
    }

    @Test func `carries id, time of the attempt and a signature of the exact bytes`() async throws {
        let server = try await HookServer.start()
        let receiver = try Receiver(
            name: "oncall", url: "http://127.0.0.1:\(server.port)/hook?token=canary",
            secrets: [Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Secret("old key")])
        let deliveries = try await withSender {
            try await sendTest(to: receiver, via: $0, instance: "web-1:9798", externalURL: "http://web-1:9798", time: time)
        }
        #expect(deliveries.map(\.answer) == [.accepted(status: 200), .accepted(status: 200)])
        #expect(deliveries.map(\.status) == [.firing, .resolved])
        let requests = server.requests
        #expect(requests.count == 2)
        for request in requests {
            #expect(request.target == "/hook?token=canary")
            #expect(request.headers["content-type"] == "application/json")
            #expect(request.headers["user-agent"] == "healthd/0.1.0")
            let id = try #require(request.headers["webhook-id"])
            let timestamp = try #require(request.headers["webhook-timestamp"].flatMap { Int64($0) })
            #expect(abs(timestamp - time.wallNow().microsecondsSince1970 / 1_000_000) < 60)
            #expect(
                request.headers["webhook-signature"]
                    == webhookSignature(id: id, timestamp: timestamp, body: request.body, secrets: receiver.secrets))
            #expect(try request.told().healthd.id == id)
            #expect(try request.told().version == "4")
        }
        try await server.stop()
    }

    @Test func `carries the user and the password of its address, and no other request line for it`() async throws {
        let server = try await HookServer.start()
        let receiver = try Receiver(name: "oncall", url: "http://us%3Fer:p%40ss%3A@127.0.0.1:\(server.port)/hook?a=b")
        _ = try await withSender { await $0.send([], id: "x", to: receiver) }
        let request = try #require(server.requests.first)
        #expect(request.target == "/hook?a=b")
        #expect(request.headers["authorization"] == "Basic " + Data("us?er:p@ss:".utf8).base64EncodedString())
        #expect(request.headers["host"] == "127.0.0.1:\(server.port)")
        try await server.stop()
    }

    @Test func `reaches its receiver within a second of the first queued caller`() async throws {
        let server = try await HookServer.start()
        let receiver = try Receiver(name: "oncall", url: "http://127.0.0.1:\(server.port)/hook")
        try await withSender { sender in
            let line = AlertLine(outbox: try scratch.outbox(), receivers: [receiver], sender: sender, time: time)
            try await running(line) { line in
                line.pool(0.1, time: time)
                let began = time.now()
                line.pool(1.5, time: time)
                let request = try await server.request(1)
                #expect(time.now() - began < promise(.seconds(1), "a full pool is told of within a second"))
                #expect(try request.told().healthd.holders.first?.statement == "SELECT pg_sleep($1)")
            }
        }
        try await server.stop()
    }

    @Test func `loses neither firing nor resolved to a receiver that is down and a process that is killed`() async throws {
        // A port that was ours a moment ago: nobody listens there.
        let before = try await HookServer.start()
        let port = before.port
        try await before.stop()
        let receiver = try Receiver(name: "oncall", url: "http://127.0.0.1:\(port)/hook")
        var firingID = ""
        try await withSender { sender in
            let line = AlertLine(
                outbox: try scratch.outbox(), receivers: [receiver], sender: sender, time: time, policy: policy,
                logger: lines.logger)
            try await running(line) { line in
                line.pool(1.5, time: time)
                try await until("three attempts were refused") { line.dispatcher.snapshot().receivers[0].attempts[.unreachable] ?? 0 >= 3 }
                line.pool(0.1, time: time)
                try await until("both are queued") { line.dispatcher.snapshot().receivers[0].queued == 2 }
            }
            firingID = try #require(try await scratch.outbox().recentNotices().last)
        }
        let server = try await HookServer.start(port: port)
        try await withSender { sender in
            let line = AlertLine(
                outbox: try scratch.outbox(), receivers: [receiver], sender: sender, time: time, policy: policy,
                logger: lines.logger)
            try await running(line) { line in
                _ = try await server.request(2)
                try await until("nothing is queued") { line.dispatcher.snapshot().receivers[0].queued == 0 }
                // Nothing more comes: the pool is well, and nobody is told twice.
                line.pool(0.1, time: time)
                try await until("the pool is well") { line.board.snapshot().component("pool")?.state == .healthy }
            }
        }
        #expect(try server.requests.map { try $0.told().description } == ["pool-saturation firing", "pool-saturation resolved"])
        #expect(server.requests.first?.headers["webhook-id"] == firingID)
        try await server.stop()
    }

    @Test func `is delivered in order through errors, by the same id each time`() async throws {
        let server = try await HookServer.start(answers: [(500, [:]), (503, [:]), (429, ["retry-after": "0"]), (200, [:])])
        let receiver = try Receiver(name: "oncall", url: "http://127.0.0.1:\(server.port)/hook")
        try await withSender { sender in
            let line = AlertLine(outbox: try scratch.outbox(), receivers: [receiver], sender: sender, time: time, policy: policy)
            try await running(line) { line in
                line.pool(1.5, time: time)
                line.pool(0.1, time: time)
                _ = try await server.request(5)
            }
        }
        #expect(
            try server.requests.map { try $0.told().healthd.notification } == ["firing", "firing", "firing", "firing", "resolved"])
        #expect(Set(server.requests.prefix(4).map { $0.headers["webhook-id"] }).count == 1)
        try await server.stop()
    }

    @Test func `does not follow a redirection and reads no more than 64 kB of an answer`() async throws {
        let server = try await HookServer.start(
            answers: [(302, ["location": "http://127.0.0.1:1/elsewhere"]), (500, [:])], bodySize: 10_000_000)
        let receiver = try Receiver(name: "oncall", url: "http://127.0.0.1:\(server.port)/hook")
        try await withSender { sender in
            let redirected = await sender.send([], id: "a", to: receiver)
            guard case .refused(let words) = redirected else {
                Issue.record("\(redirected)")
                return
            }
            #expect(words.hasPrefix("HTTP 302, a redirection, which is not followed"))
            guard case .tryAgain(.httpError, let reason, nil) = await sender.send([], id: "b", to: receiver) else {
                Issue.record("expected another attempt")
                return
            }
            #expect(reason.utf8.count < 300)
        }
        try await server.stop()
    }

    @Test(arguments: [HookServer.Body.none, .trickle, .breaksOff])
    func `A4: is taken when the status says so, whatever becomes of the body`(_ body: HookServer.Body) async throws {
        let server = try await HookServer.start(body: body)
        let receiver = try Receiver(name: "oncall", url: "http://127.0.0.1:\(server.port)/hook")
        try await withSender { sender in
            let manual = ManualTime()
            let slow = WebhookSender(version: "0.1.0", time: manual)
            // By its own clock it waits for the text no longer than its patience.
            async let answer = slow.send([], id: "a", to: receiver)
            if body != .breaksOff {
                // Asleep are the limit of the attempt and the patience with the text.
                try await manual.untilAsleep(2)
                manual.advance(by: WebhookSender.bodyPatience)
            }
            #expect(await answer == .accepted(status: 200))
            try await slow.shutdown()
            // And by a real one.
            #expect(await sender.send([], id: "b", to: receiver) == .accepted(status: 200))
        }
        #expect(server.requests.count == 2)
        try await server.stop()
    }

    @Test func `A4: that says no and does not end is told by its status`() async throws {
        let server = try await HookServer.start(answers: [(503, [:])], body: .trickle)
        let receiver = try Receiver(name: "oncall", url: "http://127.0.0.1:\(server.port)/hook")
        let answer = try await withSender { await $0.send([], id: "a", to: receiver) }
        guard case .tryAgain(.httpError, let reason, nil) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(reason.hasPrefix("HTTP 503"))
        try await server.stop()
    }

    @Test func `has an attempt's limit on a receiver that accepts and never answers`() async throws {
        let manual = ManualTime()
        let server = try await HookServer.start(silent: true)
        let sender = WebhookSender(version: "0.1.0", time: manual)
        let receiver = try Receiver(name: "oncall", url: "http://127.0.0.1:\(server.port)/hook")
        async let answer = sender.send([], id: "a", to: receiver)
        _ = try await server.request(1)
        try await manual.untilAsleep()
        manual.advance(by: .seconds(15))
        #expect(await answer == .tryAgain(.timeout, reason: "no delivery to 127.0.0.1:\(server.port): no answer within 15 s", after: nil))
        try await sender.shutdown()
        try await server.stop()
    }

    @Test func `that nobody takes names the error and not the address`() async throws {
        let gone = try await HookServer.start()
        try await gone.stop()
        let receiver = try Receiver(name: "oncall", url: "http://127.0.0.1:\(gone.port)/canary")
        try await withSender { sender in
            guard case .tryAgain(.unreachable, let reason, nil) = await sender.send([], id: "a", to: receiver) else {
                Issue.record("expected another attempt")
                return
            }
            #expect(!reason.contains("canary"))
            #expect(reason.count > 5)
        }
    }

    private func running(_ line: AlertLine, _ body: (AlertLine) async throws -> Void) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { await line.dispatcher.run() }
            try await body(line)
            group.cancelAll()
        }
    }
}

/// What the server got.
struct HookRequest: Sendable {
    var target: String
    var headers: [String: String]
    var body: [UInt8]

    func told() throws -> Told { try decode(Told.self, from: Data(body)) }
}

/// A receiver over HTTP that answers as it is told to, and lets a test wait for a request.
final class HookServer: Sendable {
    private struct State {
        var requests: [HookRequest] = []
        var answers: [(Int, [String: String])]
    }

    private let state: Mutex<State>
    private let channel: Mutex<(any Channel)?> = Mutex(nil)
    let bodySize: Int
    let silent: Bool
    let body: Body

    /// How an answer's body goes.
    enum Body: Sendable {
        case whole
        /// Announced as endless, and nothing comes.
        case none
        /// A byte now and then, for ever.
        case trickle
        /// A byte, and the connection is closed.
        case breaksOff
    }
    private let bound = Mutex(0)

    private init(answers: [(Int, [String: String])], bodySize: Int, silent: Bool, body: Body) {
        self.body = body
        state = Mutex(State(answers: answers))
        self.bodySize = bodySize
        self.silent = silent
    }

    /// - Parameter answers: in this order, then always 200.
    static func start(
        port: Int = 0, answers: [(Int, [String: String])] = [], bodySize: Int = 2, silent: Bool = false, body: Body = .whole
    ) async throws -> HookServer {
        let server = HookServer(answers: answers, bodySize: bodySize, silent: silent, body: body)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(HookHandler(server))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        server.channel.withLock { $0 = channel }
        server.bound.withLock { $0 = channel.localAddress?.port ?? 0 }
        return server
    }

    var port: Int { bound.withLock { $0 } }
    var requests: [HookRequest] { state.withLock { $0.requests } }

    func stop() async throws {
        try await channel.withLock { $0 }?.close().get()
    }

    /// The request of this number, counted from 1, as soon as it is there.
    func request(_ number: Int) async throws -> HookRequest {
        try await until("request \(number) is there") { requests.count >= number }
        return requests[number - 1]
    }

    fileprivate func take(_ request: HookRequest) -> (Int, [String: String])? {
        let answer = state.withLock { state in
            state.requests.append(request)
            return state.answers.isEmpty ? (200, [:]) : state.answers.removeFirst()
        }
        return silent ? nil : answer
    }
}

private final class HookHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let server: HookServer
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []

    init(_ server: HookServer) { self.server = server }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body(let part): body += part.readableBytesView
        case .end:
            guard let head else { return }
            let headers = Dictionary(head.headers.map { ($0.name.lowercased(), $0.value) }) { first, _ in first }
            guard let (status, fields) = server.take(HookRequest(target: head.uri, headers: headers, body: body)) else { return }
            var answer = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: status))
            for (name, value) in fields { answer.headers.add(name: name, value: value) }
            guard case .whole = server.body else { return answerWithoutEnd(answer, context) }
            answer.headers.add(name: "content-length", value: "\(server.bodySize)")
            context.write(wrapOutboundOut(.head(answer)), promise: nil)
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(repeating: 0x6F, count: server.bodySize)))), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }
    }

    private func answerWithoutEnd(_ head: HTTPResponseHead, _ context: ChannelHandlerContext) {
        var head = head
        head.headers.add(name: "transfer-encoding", value: "chunked")
        context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
        switch server.body {
        case .whole, .none: break
        case .breaksOff:
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "a")))), promise: nil)
            context.close(promise: nil)
        case .trickle:
            let writer = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(50)) { task in
                let (handler, context) = writer.value
                guard context.channel.isActive else { return task.cancel() }
                context.writeAndFlush(handler.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "a")))), promise: nil)
            }
        }
    }
}
