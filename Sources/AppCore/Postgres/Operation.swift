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

        /// Whether the sender is the one who waits: a batch goes on when the caller on whose thread it happens to leave does not.
        var isTask: Bool { if case .caller = self { true } else { false } }

        func isOwner(_ id: ObjectIdentifier) -> Bool { if case .owner(id, _) = self { true } else { false } }
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
        /// - Parameter isNamed: it was prepared before this batch.
        case statement(isNamed: Bool)
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
    /// It is sent once more because of a plan that may be stale. Whether it was shows in how that ends.
    private var suspectsPlan = false
    /// How the session differs from how it began, as far as texts and command tags have shown it.
    private(set) var changedSession = SessionChange.none
    /// The server has dropped all names, as it was told.
    private(set) var droppedNames = false
    /// What its answers have shown of transactions that ended.
    private(set) var transactionEnds = TransactionEnds()
    /// No transaction is open at this point of it: what its next statement does lasts. As far as tags show: after AND CHAIN it is taken for so.
    private var isOutsideTransaction = false
    private var results: [Rows] = []
    /// What the answers to come are to, in order: a batch parses some of its statements first.
    private var parts: Deque<Part> = []
    /// Of the statement whose answer is coming in.
    private var result: LibpqResult?
    private var error: PostgresError?
    /// In a batch: what failed first.
    private var failure: Part?

    init(request: Request, startedAt: MonotonicInstant, deadline: Deadline, responder: Responder) {
        self.request = request
        self.startedAt = startedAt
        self.deadline = deadline
        self.responder = responder
        if case .script(let text) = request { changedSession = .named(in: text) }
    }

    /// False when libpq would not take it; the connection's error message says why.
    mutating func begin(on libpq: LibpqConnection, statements: inout StatementCache) -> Bool {
        isOutsideTransaction = libpq.transactionStatus == .idle
        return send(on: libpq, statements: &statements)
    }

    /// The same, for what is sent once more.
    mutating func send(on libpq: LibpqConnection, statements: inout StatementCache) -> Bool {
        switch request {
        case .script(let text):
            return libpq.sendScript(text)
        case .batch(let list):
            return libpq.enterPipeline() && send(list, on: libpq, statements: &statements) && libpq.sync()
        case .statement(let sql):
            if case .executing(let name) = stage { return libpq.sendPrepared(name: name, sql.parameters) }
            let plan = retried ? .once : statements.plan(for: sql.text)
            switch plan {
            // Not in a transaction: if the server should not know the name, that would be the end of it.
            case .makeRoom(let names) where libpq.transactionStatus == .idle:
                // Gone from here on, also if nobody waits for the server to say so.
                statements.madeRoom(names)
                stage = .makingRoom
                return libpq.sendScript(names.map { "DEALLOCATE \($0)" }.joined(separator: "; "))
            case .once, .changing, .makeRoom:
                if case .changing(let change) = plan { changedSession = max(changedSession, change) }
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
            var isNamed = false
            let ofThisBatch = parsed[sql.text]
            switch ofThisBatch.map({ .execute(name: $0) }) ?? (retried ? .once : statements.plan(for: sql.text, pending: parsed.count)) {
            // To make room needs an answer first: not here.
            case .once, .makeRoom: sent = libpq.sendQuery(sql.text, sql.parameters)
            case .changing(let change):
                changedSession = max(changedSession, change)
                sent = libpq.sendQuery(sql.text, sql.parameters)
            case .execute(let name):
                isNamed = ofThisBatch == nil
                sent = libpq.sendPrepared(name: name, sql.parameters)
            case .prepare(let name):
                parsed[sql.text] = name
                parts.append(.parse(text: sql.text, name: name))
                sent = libpq.sendPrepare(name: name, sql.text) && libpq.sendPrepared(name: name, sql.parameters)
            }
            guard sent else { return false }
            parts.append(.statement(isNamed: isNamed))
        }
        return true
    }

    mutating func take(_ received: LibpqResult) {
        switch received.kind {
        case .command:
            // Our own DEALLOCATE is nothing that the caller did.
            if !stage.isMakingRoom { heed(received.commandTag) }
            result = received
        case .tuples:
            if isOutsideTransaction { transactionEnds.note(lasts: true) }
            result = received
        case .empty, .skipped, .synced, .copy, .unsupported: break
        case .error: fail(.server(received.serverError))
        }
    }

    private mutating func heed(_ tag: String) {
        noteEnd(tag)
        if tag == "ROLLBACK", request.asksToCommit(results.count) { fail(.transactionRolledBack) }
        let change = request.changesSession(tag, statement: results.count)
        guard change != .none else { return }
        changedSession = max(changedSession, change)
        if SessionChange.dropsNames(tag) { droppedNames = true }
    }

    private mutating func noteEnd(_ tag: String) {
        switch tag {
        // A statement was parsed, not run.
        case "": break
        case "BEGIN", "START TRANSACTION": isOutsideTransaction = false
        case "COMMIT", "PREPARE TRANSACTION":
            transactionEnds.note(lasts: true)
            isOutsideTransaction = true
        case "ROLLBACK":
            guard request.endsByRollback(results.count) else { return }
            transactionEnds.note(lasts: false)
            isOutsideTransaction = true
        default: if isOutsideTransaction { transactionEnds.note(lasts: true) }
        }
    }

    /// The first reason counts: what follows is its consequence.
    mutating func fail(_ reason: PostgresError) { error = error ?? reason }

    /// In a batch: one answer is complete, the next follows. After an error none counts any more.
    mutating func closePart(statements: inout StatementCache) {
        let part = parts.popFirst()
        defer { result = nil }
        guard error == nil else {
            if failure == nil { failure = part ?? .statement(isNamed: false) }
            return
        }
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
        if stage.isMakingRoom, error == nil || error?.sqlState == Self.unknownName {
            error = nil
            result = nil
            return .sendAgain
        }
        if let text = textOfUselessName {
            // Nothing took effect: it is sent once more, and parsed anew.
            let again = outsideTransaction && staysInItsTransaction
            if error?.sqlState == Self.unknownName {
                statements.areGone()
            } else {
                statements.areStale(texts, breaking: again ? nil : text)
                suspectsPlan = again
            }
            if again {
                retried = true
                error = nil
                failure = nil
                result = nil
                results = []
                parts = []
                stage = .plain
                return .sendAgain
            }
        }
        if suspectsPlan, error == nil { statements.planWasStale() }
        if case .batch = request { return .answer(Answer(rows: results, error: error)) }
        return .answer(error.map { Answer(error: $0) } ?? Answer(rows: [Rows(result: result)]))
    }

    /// What the caller gets when the connection breaks; the server's last words are better than "closed".
    func lost(_ reason: String) -> Answer {
        Answer(rows: results, error: error ?? .connectionLost(reason))
    }

    /// The text whose execution by name failed because the name is of no use any more. Nil also when it was parsed anew already.
    private var textOfUselessName: String? {
        guard !retried, case .server(let error) = error, Self.mayBeOfTheName(error) else { return nil }
        switch (request, stage) {
        case (.statement(let sql), .executing): return sql.text
        case (.batch(let list), _):
            guard case .statement(isNamed: true) = failure, list.indices.contains(results.count) else { return nil }
            return list[results.count].text
        default: return nil
        }
    }

    private var texts: [String] {
        switch request {
        case .statement(let sql): [sql.text]
        case .batch(let list): list.map(\.text)
        case .script: []
        }
    }

    /// False when it could have ended a transaction of its own: then an error does not say that nothing took effect.
    private var staysInItsTransaction: Bool {
        switch request {
        case .statement(let sql): sql.operation.staysInItsTransaction
        case .batch(let list): list.allSatisfy { $0.operation.staysInItsTransaction }
        case .script: false
        }
    }

    /// As after DISCARD ALL.
    private static let unknownName = "26000"

    /// Whether the error may be the name's and not the statement's. Class 42 as well: what could be parsed then cannot be now, as when a column has
    /// another type and the parameters that are compared with it have not. Not what a role is denied; and never what a value or a function
    /// brings, as a bad text for `to_tsquery` does: parsed anew it would fail again.
    private static func mayBeOfTheName(_ error: ServerError) -> Bool {
        if error.sqlState == unknownName { return true }
        return error.isOfPlan && (error.meaning == .stalePlan || error.sqlState.hasPrefix("42") && error.meaning != .denied)
    }
}
