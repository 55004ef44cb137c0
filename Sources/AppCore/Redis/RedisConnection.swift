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
        /// What the server of the last link said, for which we left it.
        var farewell: RedisError?
        /// A replica has refused us: a server that calls itself one is not signed in to.
        var seeksPrimary = false
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
        do throws(RedisError) {
            return try await link.command(arguments, until: deadline ?? Deadline(.now() + budget))
        } catch {
            if case .refused(let message) = error { leave(link, if: RedisTrouble.reaction(to: message), because: error) }
            throw error
        }
    }

    /// Gives up the present link for what its server said of itself; `run` makes another.
    ///
    /// - Returns: `refusal`, to be thrown.
    func leave(_ refusal: RedisError) -> RedisError {
        if let link = state.withLock({ $0.link }) { leave(link, if: .findPrimary, because: refusal) }
        return refusal
    }

    private func leave(_ link: RedisLink, if reaction: RedisTrouble.Reaction, because refusal: RedisError) {
        guard reaction == .findPrimary || reaction == .connectAgain else { return }
        let isOurs = state.withLock { state in
            // Of many commands that are refused at once the first counts.
            guard state.link === link else { return false }
            state.link = nil
            state.farewell = refusal
            if reaction == .findPrimary { state.seeksPrimary = true }
            return true
        }
        if isOurs { link.close() }
    }

    /// Connects, and connects again whenever the link breaks, until cancelled.
    ///
    /// Delays are min(retries × 50 ms, 2 s) less or more 20 %; they start over after a link has stood for a second. One that had stood and had nothing
    /// to do when the other side closed it, as servers and proxies do after a while, is made anew at once, and the log does not tell of it.
    public func run() async {
        var retries = 0
        while !Task.isCancelled {
            let began = MonotonicInstant.now()
            let end = await hold()
            guard !Task.isCancelled else { break }
            let hadStood = MonotonicInstant.now() - began >= .seconds(1) && hasBeenUp(since: began)
            if hadStood { retries = 0 }
            let isNews = !(hadStood && end.wasIdle)
            goDown(end.reason, isNews: isNews)
            guard isNews else { continue }
            retries += 1
            try? await time.sleep(for: Self.delay(retries: retries, jitter: .random(in: 0.8...1.2)))
        }
        goDown("shutting down", isNews: false)
    }

    /// Source: the reconnect strategy the platform's former client was configured with.
    static func delay(retries: Int, jitter: Double) -> Duration {
        .milliseconds(Double(min(retries * 50, 2_000)) * jitter)
    }

    private struct End {
        var reason: String
        /// The other side closed a link that nobody waited at.
        var wasIdle = false
    }

    /// One link from connect to its end; answers how it ended.
    private func hold() async -> End {
        do {
            let link = try await signedIn()
            defer { link.close() }
            let wasTold = state.withLock { state in
                state.link = link
                state.status = .up(since: .now())
                state.connects += 1
                defer { state.told = [] }
                return !state.told.isEmpty
            }
            if wasTold { logger.info("redis is available again", metadata: ["endpoint": "\(endpoint)"]) }
            await link.untilEnded()
            let farewell = state.withLock { state in
                defer { state.farewell = nil }
                return state.farewell
            }
            if let farewell { return End(reason: endpoint.failure(of: farewell)) }
            return End(reason: endpoint.end(because: link.failure), wasIdle: link.endedIdle)
        } catch {
            return End(reason: endpoint.failure(of: error))
        }
    }

    /// A link to the first of the name's addresses that answers: `localhost` may be `::1` to the resolver and `127.0.0.1` to Redis. Each gets
    /// its share of the time. A refusal ends the search, since it is an answer; that of a replica does not, since the primary may be the next.
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
                if case .refused(let message) = error, RedisTrouble.reaction(to: message) != .findPrimary { throw error }
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
            try await answers(link, until: deadline)
            if state.withLock({ $0.seeksPrimary }) { try await confirmPrimary(link, until: deadline) }
        } catch {
            link.close()
            throw error
        }
    }

    /// A frozen server accepts connections, too; only an answer shows that it is there.
    private func answers(_ link: RedisLink, until deadline: Deadline) async throws(RedisError) {
        do throws(RedisError) {
            _ = try await link.command(["PING"], until: deadline)
        } catch {
            guard error.isAnswerToPing else { throw error }
        }
    }

    /// A server that does not say what it is is taken as it is: the next write will show.
    private func confirmPrimary(_ link: RedisLink, until deadline: Deadline) async throws(RedisError) {
        let role = try await role(of: link, until: deadline)
        guard role != "slave", role != "replica" else { throw .isReplica }
        state.withLock { $0.seeksPrimary = false }
    }

    /// By HELLO, which every user may send but no Redis before 6 knows, else by ROLE.
    private func role(of link: RedisLink, until deadline: Deadline) async throws(RedisError) -> String? {
        do throws(RedisError) {
            guard case .array(let facts) = try await link.command(["HELLO", "2"], until: deadline),
                let place = facts.firstIndex(of: .string(Array("role".utf8))), facts.indices.contains(place + 1)
            else { return nil }
            return facts[place + 1].text
        } catch {
            guard case .refused = error else { throw error }
        }
        do throws(RedisError) {
            guard case .array(let facts) = try await link.command(["ROLE"], until: deadline) else { return nil }
            return facts.first?.text
        } catch {
            guard case .refused = error else { throw error }
            return nil
        }
    }

    private func hasBeenUp(since began: MonotonicInstant) -> Bool {
        if case .up(let since) = status { since >= began } else { false }
    }

    private func goDown(_ reason: String, isNews: Bool) {
        let (isToBeTold, link) = state.withLock { state -> (Bool, RedisLink?) in
            let neverUp = state.connects == 0 && state.status.reason == "not connected yet"
            // Down since then, for the reason of now: a server that is back may refuse us for another.
            let since = if case .down(_, let since) = state.status, !neverUp { since } else { MonotonicInstant.now() }
            state.status = .down(reason: reason, since: since)
            defer { state.link = nil }
            return (isNews && state.told.insert(RedisError.down(reason: reason, since: .zero).kind).inserted, state.link)
        }
        link?.close()
        if isToBeTold, !Task.isCancelled {
            logger.warning("redis is unavailable", metadata: ["endpoint": "\(endpoint)", "reason": "\(reason.oneLine(limit: 300))"])
        }
    }
}

extension RedisConnection.Status {
    var reason: String? { if case .down(let reason, _) = self { reason } else { nil } }
}
