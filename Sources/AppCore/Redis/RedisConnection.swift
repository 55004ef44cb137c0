public import Logging
import Synchronization
public import Vitals

/// One connection to Redis for the whole process, kept up by `run()`.
///
/// There is no queue for later: while it is down a command fails at once.
public final class RedisConnection: Sendable {
    public enum Status: Sendable {
        case up(since: MonotonicInstant)
        case down(reason: String, since: MonotonicInstant)
    }

    private struct State {
        var link: RedisLink?
        var status: Status
        var connects = 0
    }

    private let endpoint: RedisEndpoint
    private let budget: Duration
    private let loop: EventLoop
    private let calls: BlockingCalls
    private let time: any TimeSource
    private let logger: Logger
    private let state: Mutex<State>

    /// Connect and sign in together.
    static let connectTimeout = Duration.seconds(1)

    /// - Parameter deadline: what a command gets when its caller sets none.
    public init(
        _ endpoint: RedisEndpoint, deadline: Duration = .milliseconds(50), loop: EventLoop, time: any TimeSource = SystemTime(),
        logger: Logger = Logger(label: "redis")
    ) {
        self.endpoint = endpoint
        budget = deadline
        self.loop = loop
        self.time = time
        self.logger = logger
        calls = BlockingCalls(limit: 2, loop: loop)
        state = Mutex(State(status: .down(reason: "not connected yet", since: .now())))
    }

    public var status: Status { state.withLock { $0.status } }

    /// Connections made so far.
    public var connects: Int { state.withLock { $0.connects } }

    /// - Throws: `RedisError`.
    public func command(_ arguments: [RedisArgument], until deadline: Deadline? = nil) async throws(RedisError) -> RedisReply {
        let (link, status) = state.withLock { ($0.link, $0.status) }
        guard let link else {
            guard case .down(let reason, let since) = status else { throw .down(reason: "not connected", since: .zero) }
            throw .down(reason: reason, since: .now() - since)
        }
        return try await link.command(arguments, until: deadline ?? Deadline(.now() + budget))
    }

    /// Connects, and connects again whenever the link breaks, until cancelled.
    ///
    /// Delays are min(retries × 50 ms, 2 s) less or more 20 %; they start over after a link has stood for a second.
    public func run() async {
        var retries = 0
        while !Task.isCancelled {
            let began = MonotonicInstant.now()
            let reason = await hold()
            guard !Task.isCancelled else { break }
            if MonotonicInstant.now() - began >= .seconds(1), hasBeenUp(since: began) { retries = 0 }
            goDown(reason)
            retries += 1
            try? await time.sleep(for: Self.delay(retries: retries, jitter: .random(in: 0.8...1.2)))
        }
        goDown("shutting down")
    }

    /// Source: the reconnect strategy the platform's former client was configured with.
    static func delay(retries: Int, jitter: Double) -> Duration {
        .milliseconds(Double(min(retries * 50, 2_000)) * jitter)
    }

    /// One link from connect to its end; answers why it ended.
    private func hold() async -> String {
        do {
            let link = try RedisLink(connectingTo: try await resolved(), loop: loop)
            defer { link.close() }
            try await signIn(link)
            let wasDown = state.withLock { state in
                state.link = link
                state.status = .up(since: .now())
                state.connects += 1
                return state.connects > 1
            }
            if wasDown { logger.info("redis is available again", metadata: ["endpoint": "\(endpoint)"]) }
            await link.untilEnded()
            return link.failure ?? "closed"
        } catch let RedisError.down(reason, _) {
            return reason
        } catch {
            return "\(error)"
        }
    }

    private func resolved() async throws -> RedisEndpoint.Address {
        guard case .tcp(let host, let port) = endpoint.address else { return endpoint.address }
        let numeric = host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
        if numeric { return endpoint.address }
        let address = try await NameResolver(calls: calls).address(of: host, until: Deadline(.now() + Self.connectTimeout))
        return .tcp(host: address, port: port)
    }

    private func signIn(_ link: RedisLink) async throws(RedisError) {
        let deadline = Deadline(.now() + Self.connectTimeout)
        if let password = endpoint.password {
            let credentials = [endpoint.user, password.reveal()].compactMap { $0 }.map { RedisArgument($0) }
            _ = try await link.command(["AUTH"] + credentials, until: deadline)
        }
        if endpoint.database != 0 { _ = try await link.command(["SELECT", "\(endpoint.database)"], until: deadline) }
        // A frozen server accepts connections, too; only an answer shows that it is there.
        _ = try await link.command(["PING"], until: deadline)
    }

    private func hasBeenUp(since began: MonotonicInstant) -> Bool {
        if case .up(let since) = status { since >= began } else { false }
    }

    private func goDown(_ reason: String) {
        let (isNew, link) = state.withLock { state -> (Bool, RedisLink?) in
            let wasUp = if case .up = state.status { true } else { false }
            let neverUp = state.connects == 0 && state.status.reason == "not connected yet"
            if wasUp || neverUp { state.status = .down(reason: reason, since: .now()) }
            defer { state.link = nil }
            return (wasUp || neverUp, state.link)
        }
        link?.close()
        if isNew, !Task.isCancelled {
            logger.warning("redis is unavailable", metadata: ["endpoint": "\(endpoint)", "reason": "\(reason.oneLine(limit: 200))"])
        }
    }
}

extension RedisConnection.Status {
    var reason: String? { if case .down(let reason, _) = self { reason } else { nil } }
}
