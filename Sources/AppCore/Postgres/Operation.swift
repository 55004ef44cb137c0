import DequeModule
import Vitals

/// One statement on its way: what to send next, what came back, and who waits for it.
struct Operation {
    /// The rows of each statement that ended well, of a script those of its last; and the error of the one after them, if one failed.
    struct Answer: Sendable {
        var rows: [Rows] = []
        var error: PostgresError?
    }

    /// Who is told.
    enum Responder: Sendable {
        case caller(CheckedContinuation<Answer, Never>)
        /// Called on a thread of the loop, or on the sender's when the statement could not be sent.
        case owner(ObjectIdentifier, @Sendable (Answer) -> Void)

        func tell(_ answer: Answer) {
            switch self {
            case .caller(let continuation): continuation.resume(returning: answer)
            case .owner(_, let body): body(answer)
            }
        }

        func isOwner(_ id: ObjectIdentifier) -> Bool { if case .owner(id, _) = self { true } else { false } }
    }

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

        /// In a parameter.
        var hasZeroByte: Bool {
            switch self {
            case .statement(let sql): sql.hasZeroByte
            case .script: false
            case .batch(let statements): statements.contains(where: \.hasZeroByte)
            }
        }
    }

    private enum Stage {
        case plain
        /// The server parses the statement under this name. Leads to `executing`.
        case preparing(name: String)
        case executing(name: String)
        /// The server forgets a name that is needed no more. Leads to `preparing`.
        case makingRoom

        var isMakingRoom: Bool { if case .makingRoom = self { true } else { false } }
    }

    private enum Part {
        case parse(text: String, name: String)
        case statement
    }

    enum Next {
        case sendAgain
        case answer(Answer)
    }

    let request: Request
    let startedAt: MonotonicInstant
    let deadline: Deadline
    let responder: Responder
    private var stage = Stage.plain
    private var retried = false
    /// A command tag has shown that the session is no longer as it began.
    private(set) var changedSession = false
    private var results: [Rows] = []
    /// What the answers to come are to, in order: a batch parses some of its statements first.
    private var parts: Deque<Part> = []
    /// Of the statement whose answer is coming in.
    private var result: LibpqResult?
    private var error: PostgresError?

    init(request: Request, startedAt: MonotonicInstant, deadline: Deadline, responder: Responder) {
        self.request = request
        self.startedAt = startedAt
        self.deadline = deadline
        self.responder = responder
    }

    /// False when libpq would not take it; the connection's error message says why.
    mutating func send(on libpq: LibpqConnection, statements: inout StatementCache) -> Bool {
        switch request {
        case .script(let text):
            return libpq.sendScript(text)
        case .batch(let list):
            return libpq.enterPipeline() && send(list, on: libpq, statements: &statements) && libpq.sync()
        case .statement(let sql):
            if case .executing(let name) = stage { return libpq.sendPrepared(name: name, sql.parameters) }
            switch retried ? .once : statements.plan(for: sql.text) {
            // In an aborted transaction the server takes nothing but its end, and no DEALLOCATE before it.
            case .makeRoom(let name) where libpq.transactionStatus != .inError:
                // Gone from here on, also if nobody waits for the server to say so.
                statements.madeRoom(name)
                stage = .makingRoom
                return libpq.sendScript("DEALLOCATE \(name)")
            case .once, .makeRoom:
                stage = .plain
                return libpq.sendQuery(sql.text, sql.parameters)
            case .prepare(let name):
                stage = .preparing(name: name)
                return libpq.sendPrepare(name: name, sql.text)
            case .execute(let name):
                stage = .executing(name: name)
                return libpq.sendPrepared(name: name, sql.parameters)
            }
        }
    }

    private mutating func send(_ list: [SQL], on libpq: LibpqConnection, statements: inout StatementCache) -> Bool {
        // A text that this batch parses need not be parsed again in it.
        var parsed: [String: String] = [:]
        for sql in list {
            let sent: Bool
            switch parsed[sql.text].map({ .execute(name: $0) }) ?? (retried ? .once : statements.plan(for: sql.text, pending: parsed.count)) {
            // To make room needs an answer first: not here.
            case .once, .makeRoom: sent = libpq.sendQuery(sql.text, sql.parameters)
            case .execute(let name): sent = libpq.sendPrepared(name: name, sql.parameters)
            case .prepare(let name):
                parsed[sql.text] = name
                parts.append(.parse(text: sql.text, name: name))
                sent = libpq.sendPrepare(name: name, sql.text) && libpq.sendPrepared(name: name, sql.parameters)
            }
            guard sent else { return false }
            parts.append(.statement)
        }
        return true
    }

    mutating func take(_ received: LibpqResult) {
        switch received.kind {
        case .command:
            // Our own DEALLOCATE is nothing that the caller changed.
            if !changedSession, !stage.isMakingRoom {
                changedSession = request.changesSession(received.commandTag, statement: results.count)
            }
            result = received
        case .tuples: result = received
        case .empty, .skipped, .synced, .copy, .unsupported: break
        case .error: fail(.server(received.serverError))
        }
    }

    /// The first reason counts: what follows is its consequence.
    mutating func fail(_ reason: PostgresError) { error = error ?? reason }

    /// In a batch: one answer is complete, the next follows. After an error none counts any more.
    mutating func closePart(statements: inout StatementCache) {
        let part = parts.popFirst()
        defer { result = nil }
        guard error == nil else { return }
        switch part {
        case .parse(let text, let name): statements.prepared(text, as: name)
        case .statement, nil: results.append(Rows(result: result))
        }
    }

    /// What follows when the server is done with the last thing sent.
    mutating func next(outsideTransaction: Bool, statements: inout StatementCache) -> Next {
        if case .preparing(let name) = stage, error == nil {
            statements.prepared(request.text, as: name)
            stage = .executing(name: name)
            return .sendAgain
        }
        if stage.isMakingRoom, error == nil || error?.sqlState == "26000" {
            error = nil
            result = nil
            return .sendAgain
        }
        if outsideTransaction, !retried, isStalePlan, let texts = preparedTexts {
            // A migration changed the table under a prepared statement. Nothing took effect: parse it anew, once.
            for text in texts { statements.forget(text) }
            retried = true
            error = nil
            result = nil
            results = []
            parts = []
            stage = .plain
            return .sendAgain
        }
        if case .batch = request { return .answer(Answer(rows: results, error: error)) }
        return .answer(error.map { Answer(error: $0) } ?? Answer(rows: [Rows(result: result)]))
    }

    /// What the caller gets when the connection breaks; the server's last words are better than "closed".
    func lost(_ reason: String) -> Answer {
        Answer(rows: results, error: error ?? .connectionLost(reason))
    }

    /// The texts that may have been executed by name; nil when there is none, or when one could have ended a transaction of its own: then
    /// an error does not say that nothing took effect.
    private var preparedTexts: [String]? {
        let list: [SQL]
        switch (request, stage) {
        case (.batch(let statements), _): list = statements
        case (.statement(let sql), .executing): list = [sql]
        default: return nil
        }
        return list.allSatisfy { $0.operation.staysInItsTransaction } ? list.map(\.text) : nil
    }

    private var isStalePlan: Bool { error?.sqlState.map { Self.stalePlan.contains($0) } ?? false }

    /// 0A000 "cached plan must not change result type"; 26000: the name is unknown, as after DISCARD ALL.
    static let stalePlan: Set<String> = ["0A000", "26000"]
}
