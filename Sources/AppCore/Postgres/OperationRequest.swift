extension Operation {
    /// What is to be sent.
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

        var hasZeroByte: Bool {
            switch self {
            case .statement(let sql): sql.hasZeroByte
            case .script(let text): text.hasZeroByte
            case .batch(let statements): statements.contains(where: \.hasZeroByte)
            }
        }
    }
}

/// What the session and the transaction are like afterwards.
extension Operation.Request {
    /// - Parameter statement: which of a batch the tag belongs to.
    func changesSession(_ tag: String, statement: Int) -> SessionChange {
        switch self {
        case .statement(let sql): SessionChange.shown(by: tag, of: sql.text)
        case .batch(let list): SessionChange.shown(by: tag, of: list.indices.contains(statement) ? list[statement].text : nil)
        case .script: SessionChange.shown(by: tag, of: nil)
        }
    }

    /// Whether a ROLLBACK that the server answers was asked for otherwise: as COMMIT, END or PREPARE TRANSACTION of a transaction that had failed.
    func asksToCommit(_ statement: Int) -> Bool {
        guard let text = text(of: statement) else { return false }
        return !SQLTokens(text).contains { $0.name == "rollback" || $0.name == "abort" }
    }

    /// Whether a ROLLBACK that the server answers has ended the transaction.
    func endsByRollback(_ statement: Int) -> Bool { text(of: statement).map(TransactionEnds.isRollback) ?? true }

    /// The text that an answer belongs to: of a script the whole.
    private func text(of statement: Int) -> String? {
        switch self {
        case .statement(let sql): sql.text
        case .batch(let list): list.indices.contains(statement) ? list[statement].text : nil
        case .script(let text): text
        }
    }

    /// Whether a transaction must be taken for committed when nobody hears the answer.
    var mayCommit: Bool {
        switch self {
        case .statement(let sql): TransactionEnds.mayCommit(sql.text)
        case .batch(let list): list.contains { TransactionEnds.mayCommit($0.text) }
        case .script(let text): TransactionEnds.mayCommit(text)
        }
    }

    /// Whether the session must be taken for changed when the caller gave up before the tag came.
    var mayChangeSession: Bool {
        switch self {
        case .statement(let sql): sql.operation == .other
        case .batch(let list): list.contains { $0.operation == .other }
        case .script: true
        }
    }
}
