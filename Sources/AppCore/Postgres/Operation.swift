import Vitals

/// One statement on its way: what to send next, what came back, and who waits for it.
struct Operation {
    /// The rows of each statement; of a script those of its last.
    typealias Answer = Result<[Rows], PostgresError>

    enum Request {
        case statement(SQL)
        case script(String)
        /// Sent together in pipeline mode, answered together: one round trip for all.
        case batch([SQL])

        /// What stands for it where people look: of a batch its first statement.
        var text: String {
            switch self {
            case .statement(let sql): sql.text
            case .script(let text): text
            case .batch(let statements): statements.first?.text ?? ""
            }
        }
    }

    private enum Stage {
        case plain
        /// The server parses the statement under this name. Leads to `executing`.
        case preparing(name: String)
        case executing(name: String)
        /// The server forgets a name that is needed no more. Leads to `preparing`.
        case makingRoom(name: String)
    }

    enum Next {
        case sendAgain
        case answer(Answer)
    }

    let request: Request
    let startedAt: MonotonicInstant
    let deadline: Deadline
    let continuation: CheckedContinuation<Answer, Never>
    private var stage = Stage.plain
    private var retried = false
    /// A command tag has shown that the session is no longer as it began.
    private(set) var changedSession = false
    private var results: [LibpqResult?] = []
    /// Of the statement whose answer is coming in.
    private var result: LibpqResult?
    private var error: PostgresError?

    init(request: Request, startedAt: MonotonicInstant, deadline: Deadline, continuation: CheckedContinuation<Answer, Never>) {
        self.request = request
        self.startedAt = startedAt
        self.deadline = deadline
        self.continuation = continuation
    }

    /// False when libpq would not take it; the connection's error message says why.
    mutating func send(on libpq: LibpqConnection, statements: inout StatementCache) -> Bool {
        switch request {
        case .script(let text):
            return libpq.sendScript(text)
        case .batch(let list):
            guard libpq.enterPipeline() else { return false }
            for sql in list {
                let sent =
                    if let name = statements.name(of: sql.text) {
                        libpq.sendPrepared(name: name, sql.parameters)
                    } else {
                        libpq.sendQuery(sql.text, sql.parameters)
                    }
                guard sent else { return false }
            }
            return libpq.sync()
        case .statement(let sql):
            if case .executing(let name) = stage { return libpq.sendPrepared(name: name, sql.parameters) }
            switch retried ? .once : statements.plan(for: sql.text) {
            case .once:
                stage = .plain
                return libpq.sendQuery(sql.text, sql.parameters)
            case .prepare(let name):
                stage = .preparing(name: name)
                return libpq.sendPrepare(name: name, sql.text)
            case .execute(let name):
                stage = .executing(name: name)
                return libpq.sendPrepared(name: name, sql.parameters)
            case .makeRoom(let name):
                stage = .makingRoom(name: name)
                return libpq.sendScript("DEALLOCATE \(name)")
            }
        }
    }

    mutating func take(_ received: LibpqResult) {
        switch received.kind {
        case .command:
            if !changedSession { changedSession = request.changesSession(received.commandTag, statement: results.count) }
            result = received
        case .tuples: result = received
        case .empty, .skipped, .synced: break
        case .error: error = error ?? .server(received.serverError)
        case .unsupported: error = error ?? .notSent("COPY is not supported through this call")
        }
    }

    /// In a batch: the statement's answer is complete, the next one's follows.
    mutating func closeStatement() {
        results.append(result)
        result = nil
    }

    /// What follows when the server is done with the last thing sent.
    mutating func next(outsideTransaction: Bool, statements: inout StatementCache) -> Next {
        if case .preparing(let name) = stage, error == nil {
            statements.prepared(request.text, as: name)
            stage = .executing(name: name)
            return .sendAgain
        }
        if case .makingRoom(let name) = stage, error == nil || error?.sqlState == "26000" {
            statements.madeRoom(name)
            error = nil
            result = nil
            return .sendAgain
        }
        if case .executing = stage, outsideTransaction, !retried, isStalePlan {
            // A migration changed the table under a prepared statement. Nothing ran: parse it anew, once.
            statements.forget(request.text)
            retried = true
            error = nil
            result = nil
            stage = .plain
            return .sendAgain
        }
        if let error { return .answer(.failure(error)) }
        if case .batch = request { return .answer(.success(results.map { Rows(result: $0) })) }
        return .answer(.success([Rows(result: result)]))
    }

    /// Why the caller gets no answer when the connection breaks; the server's last words are better than "closed".
    func loss(_ reason: String) -> PostgresError {
        error ?? .connectionLost(reason)
    }

    /// 0A000 "cached plan must not change result type"; 26000: the name is unknown, as after DISCARD ALL.
    private var isStalePlan: Bool {
        guard let sqlState = error?.sqlState else { return false }
        return sqlState == "0A000" || sqlState == "26000"
    }
}
