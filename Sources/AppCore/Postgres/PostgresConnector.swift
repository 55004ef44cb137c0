import Synchronization
import Vitals

/// Opens connections to one server. Never blocks the caller's thread or the loop.
struct PostgresConnector: Sendable {
    let endpoint: PostgresEndpoint
    let applicationName: String
    let loop: EventLoop
    let calls: BlockingCalls

    /// - Throws: `PostgresError.connectFailed` with the server's own words, or `.deadlineExceeded`.
    func connect(until deadline: Deadline) async throws -> PostgresConnection {
        var keywords = endpoint.keywords
        if let password = endpoint.password { keywords["password"] = password.reveal() }
        keywords["fallback_application_name"] = applicationName
        keywords["client_encoding"] = "UTF8"
        if let name = endpoint.nameToResolve {
            do {
                keywords["hostaddr"] = try await NameResolver(calls: calls).address(of: name, until: deadline)
            } catch {
                throw PostgresError.connectFailed("\(error)", sqlState: nil)
            }
        }
        let started = MonotonicInstant.now()
        guard let libpq = LibpqConnection(startingWith: keywords.map { ($0.key, $0.value) }) else {
            throw PostgresError.connectFailed("out of memory", sqlState: nil)
        }
        let handshake = Handshake(libpq, loop: loop)
        try await handshake.complete(until: deadline, startedAt: started)
        let connection = PostgresConnection(established: libpq, loop: loop, calls: calls)
        do {
            // Rows carry times as UTC whatever the server's own zone.
            try await connection.script("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'", until: deadline)
        } catch {
            connection.close()
            throw error
        }
        return connection
    }
}

/// Drives PQconnectPoll from the loop until the connection stands or has failed.
private final class Handshake: EventHandler {
    private struct State {
        var libpq: LibpqConnection?
        var socket: Int32 = -1
        var continuation: CheckedContinuation<PostgresError?, Never>?
    }

    private let state: Mutex<State>
    private let loop: EventLoop

    init(_ libpq: LibpqConnection, loop: EventLoop) {
        state = Mutex(State(libpq: libpq))
        self.loop = loop
    }

    func complete(until deadline: Deadline, startedAt: MonotonicInstant) async throws {
        let timer = loop.schedule(at: deadline.instant) { [self] in
            finish(.deadlineExceeded(after: deadline.instant - startedAt))
        }
        let failure = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<PostgresError?, Never>) in
                let failedAtOnce = state.withLock { state -> PostgresError? in
                    guard let libpq = state.libpq else { return .connectFailed("given up", sqlState: nil) }
                    guard !libpq.hasFailed else { return Self.failure(libpq) }
                    guard !Task.isCancelled else { return .connectFailed("cancelled", sqlState: nil) }
                    state.continuation = continuation
                    // Until PQconnectPoll says otherwise, libpq waits to write.
                    watch(.writable, libpq, &state)
                    return nil
                }
                if let failedAtOnce { continuation.resume(returning: failedAtOnce) }
            }
        } onCancel: {
            finish(.connectFailed("cancelled", sqlState: nil))
        }
        loop.cancel(timer)
        if let failure { throw failure }
    }

    func ready(_ events: EventLoop.Events) {
        let over = state.withLock { state -> PostgresError?? in
            guard let libpq = state.libpq, state.continuation != nil else { return nil }
            switch libpq.connectStep() {
            case .reading: watch(.readable, libpq, &state)
            case .writing: watch(.writable, libpq, &state)
            case .established: return .some(nil)
            case .failed: return .some(Self.failure(libpq))
            }
            return nil
        }
        if let over { finish(over) }
    }

    private func watch(_ interest: EventLoop.Events, _ libpq: LibpqConnection, _ state: inout State) {
        // libpq may go on to another address, with another socket.
        if state.socket != libpq.socket, state.socket >= 0 { loop.deregister(state.socket, handler: self) }
        state.socket = libpq.socket
        loop.register(libpq.socket, interest, handler: self)
    }

    private func finish(_ failure: PostgresError?) {
        let continuation = state.withLock { state -> CheckedContinuation<PostgresError?, Never>? in
            guard let continuation = state.continuation else { return nil }
            if state.socket >= 0 { loop.deregister(state.socket, handler: self) }
            state.continuation = nil
            state.libpq = nil
            return continuation
        }
        continuation?.resume(returning: failure)
    }

    /// libpq keeps no SQLSTATE of a refused connection; the server's words for "full" are fixed enough to tell it from "down".
    private static func failure(_ libpq: LibpqConnection) -> PostgresError {
        let message = libpq.errorMessage
        let sqlStates = [
            ("too many clients already", "53300"), ("remaining connection slots are reserved", "53300"),
            ("the database system is starting up", "57P03"), ("the database system is shutting down", "57P03"),
            ("password authentication failed", "28P01"), ("does not exist", "3D000"), ("no pg_hba.conf entry", "28000"),
        ]
        return .connectFailed(message, sqlState: sqlStates.first { message.contains($0.0) }?.1)
    }
}
