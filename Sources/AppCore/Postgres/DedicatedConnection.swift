import Synchronization
public import Vitals

/// One connection outside the pool, for a watcher: it is there also when the pool is full.
///
/// Opened at the first query and again after it broke. Never more than one backend of it serves queries, and each statement that is given up is
/// cancelled once, whatever the server does: what was begun is waited for, beyond the deadline, and nothing new is begun beside it. A watcher that
/// has to say something meanwhile says it without this call, and cancels the task to be rid of it. For one caller of `query` and `script` at a
/// time; `proveNew` may be called beside it.
public final class DedicatedConnection: Sendable {
    private struct State {
        var connection: PostgresConnection?
        /// The latest result of an attempt to connect.
        var newest: NewestConnect?
        /// When each of those under way began: to have a connection for a query, and to prove one, may go on at the same time.
        var attempts: [Int: MonotonicInstant] = [:]
        var lastAttempt = 0

        mutating func begin(at now: MonotonicInstant) -> Int {
            lastAttempt += 1
            attempts[lastAttempt] = now
            return lastAttempt
        }
    }

    private let connector: PostgresConnector
    private let patience: Duration
    private let state = Mutex(State())

    /// A host that has let us begin may take this long: to leave it and to begin anew would cost it another backend each time.
    private static let letIn = Duration.seconds(600)
    /// What was cancelled is waited for; only the connection's end comes before.
    private static let finish = Duration.seconds(86_400)

    /// - Parameter patience: how long a host may take to be reached, and several hosts together to let us in.
    public init(endpoint: PostgresEndpoint, applicationName: String, patience: Duration = .seconds(5), loop: EventLoop) {
        self.patience = patience
        connector = PostgresConnector(
            endpoint: endpoint.noticingDeadPaths, applicationName: applicationName, loop: loop,
            // A query and a proof, each with its names; and a cancellation.
            calls: BlockingCalls(limit: 3 + 2 * endpoint.namesToResolve, loop: loop))
    }

    /// - Throws: `PostgresError`. What was given up at the deadline is ended at the next call.
    public func query(_ sql: SQL, until deadline: Deadline) async throws(PostgresError) -> Rows {
        let connection = try await standing()
        do throws(PostgresError) {
            return try await connection.query(sql, until: deadline)
        } catch {
            failed(connection)
            throw error
        }
    }

    /// Several statements in one text, without parameters. The same holds.
    public func script(_ text: String, until deadline: Deadline) async throws(PostgresError) {
        let connection = try await standing()
        do throws(PostgresError) {
            try await connection.script(text, until: deadline)
        } catch {
            failed(connection)
            throw error
        }
    }

    /// Opens another connection, and closes it: whether one can be had does not show in one that stands.
    public func proveNew() async throws(PostgresError) {
        try await connect().close()
    }

    public var isStanding: Bool { state.withLock { $0.connection != nil } }

    /// How the last attempt to connect ended; nil before the first. One that goes on for longer than `patience` is a failure.
    public func newestConnect(now: MonotonicInstant) -> NewestConnect? {
        state.withLock { state in
            guard let since = state.attempts.values.min(), now - since >= patience else { return state.newest }
            return NewestConnect(
                at: now, error: .connectTimedOut(connector.endpoint.description, after: now - since),
                failuresInRow: (state.newest?.failuresInRow ?? 0) + 1, isUnanswered: true)
        }
    }

    public func close() {
        let taken = state.withLock { $0.connection.take() }
        taken?.close()
    }

    private func standing() async throws(PostgresError) -> PostgresConnection {
        if let held = state.withLock({ $0.connection }) {
            await end(held)
            if isReusable(held) { return held }
            drop(held)
        }
        let opened = try await connect()
        let replaced = state.withLock { state in
            defer { state.connection = opened }
            return state.connection
        }
        replaced?.close()
        return opened
    }

    /// Has the server end what was given up before, and waits until it has.
    private func end(_ connection: PostgresConnection) async {
        guard connection.isAbandoned else { return }
        await withTaskCancellationHandler {
            await connection.cancel(until: Deadline(.now() + .seconds(1)))
            await connection.drained(until: Deadline(.now() + Self.finish))
        } onCancel: {
            connection.close()
        }
    }

    private func connect() async throws(PostgresError) -> PostgresConnection {
        let began = MonotonicInstant.now()
        let attempt = state.withLock { $0.begin(at: began) }
        do {
            let opened = try await connector.connect(until: Deadline(began + Self.letIn), reachedBy: Deadline(began + patience))
            ended(attempt, nil)
            return opened
        } catch {
            let error = error as? PostgresError ?? .connectFailed("\(error)", sqlState: nil)
            // Given up by our side: that says nothing about the other.
            if Task.isCancelled { state.withLock { $0.attempts[attempt] = nil } } else { ended(attempt, error) }
            throw error
        }
    }

    private func ended(_ attempt: Int, _ error: PostgresError?) {
        let now = MonotonicInstant.now()
        state.withLock { state in
            state.attempts[attempt] = nil
            state.newest = NewestConnect(at: now, error: error, failuresInRow: error == nil ? 0 : (state.newest?.failuresInRow ?? 0) + 1)
        }
    }

    private func failed(_ connection: PostgresConnection) {
        if !connection.isAbandoned, !isReusable(connection) { drop(connection) }
    }

    private func isReusable(_ connection: PostgresConnection) -> Bool {
        switch connection.condition {
        // A watcher looks at the server that the application uses, not at one that has become another.
        case .lost, .demoted, .needsRecovery: false
        // What its only user changed stays as the user wants it.
        case .reusable, .sessionChanged: true
        }
    }

    private func drop(_ dropped: PostgresConnection) {
        state.withLock { if $0.connection === dropped { $0.connection = nil } }
        dropped.close()
    }
}

extension PostgresEndpoint {
    /// With the kernel asking the other side now and then whether it is there: whoever waits for as long as it takes must learn when nobody is.
    /// What the user says of this stays.
    ///
    /// Source: PostgreSQL 15, section 34.1.2; no effect on unix sockets.
    fileprivate var noticingDeadPaths: PostgresEndpoint {
        guard !keywords.keys.contains(where: { $0.hasPrefix("keepalives") }) else { return self }
        var endpoint = self
        endpoint.keywords.merge(["keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"]) { own, _ in own }
        return endpoint
    }
}
