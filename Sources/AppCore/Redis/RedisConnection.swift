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
        /// Kinds of reasons that the log has told since it went down: a new one is news, a retry is none.
        var told: Set<RedisError.Kind> = []
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
            let link = try await signedIn()
            defer { link.close() }
            let wasDown = state.withLock { state in
                state.link = link
                state.status = .up(since: .now())
                state.connects += 1
                state.told = []
                return state.connects > 1
            }
            if wasDown { logger.info("redis is available again", metadata: ["endpoint": "\(endpoint)"]) }
            await link.untilEnded()
            return endpoint.end(because: link.failure)
        } catch {
            return endpoint.failure(of: error)
        }
    }

    /// A link to the first of the name's addresses that answers: `localhost` may be `::1` to the resolver and `127.0.0.1` to Redis. Each gets
    /// its share of the time. A refusal ends the search: it is an answer.
    private func signedIn() async throws -> RedisLink {
        let addresses = try await resolved()
        var failures: [String] = []
        for address in addresses {
            do throws(RedisError) {
                let link = try RedisLink(connectingTo: address, loop: loop)
                try await signIn(link, until: Deadline(.now() + Self.connectTimeout / addresses.count))
                return link
            } catch {
                if addresses.count == 1 || Task.isCancelled { throw error }
                if case .refused = error { throw error }
                let reason = if case .down(let reason, _) = error { reason } else { "\(error)" }
                failures.append("\(address.text): \(reason)")
            }
        }
        throw RedisError.down(reason: failures.joined(separator: "; "), since: .zero)
    }

    private func resolved() async throws -> [RedisEndpoint.Address] {
        guard case .tcp(let host, let port) = endpoint.address, !NameResolver.isNumeric(host) else { return [endpoint.address] }
        let addresses = try await NameResolver(calls: calls).addresses(of: host, until: Deadline(.now() + Self.connectTimeout))
        return addresses.map { .tcp(host: $0, port: port) }
    }

    private func signIn(_ link: RedisLink, until deadline: Deadline) async throws(RedisError) {
        do {
            if let password = endpoint.password {
                let credentials = [endpoint.user, password.reveal()].compactMap { $0 }.map { RedisArgument($0) }
                _ = try await link.command(["AUTH"] + credentials, until: deadline)
            }
            if endpoint.database != 0 { _ = try await link.command(["SELECT", "\(endpoint.database)"], until: deadline) }
            // A frozen server accepts connections, too; only an answer shows that it is there.
            _ = try await link.command(["PING"], until: deadline)
        } catch {
            link.close()
            throw error
        }
    }

    private func hasBeenUp(since began: MonotonicInstant) -> Bool {
        if case .up(let since) = status { since >= began } else { false }
    }

    private func goDown(_ reason: String) {
        let (isNew, link) = state.withLock { state -> (Bool, RedisLink?) in
            let neverUp = state.connects == 0 && state.status.reason == "not connected yet"
            // Down since then, for the reason of now: a server that is back may refuse us for another.
            let since = if case .down(_, let since) = state.status, !neverUp { since } else { MonotonicInstant.now() }
            state.status = .down(reason: reason, since: since)
            defer { state.link = nil }
            return (state.told.insert(RedisError.down(reason: reason, since: .zero).kind).inserted, state.link)
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
