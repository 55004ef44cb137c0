/// A COPY that takes rows from the client, or sends them.
///
/// A lease has no way to give or get such rows. Left alone, libpq would say the same of it for ever, so it is ended as soon as it shows.
enum Copy: Sendable {
    case `in`, out
    /// Replication.
    case both

    var refusal: String {
        switch self {
        case .in: "COPY … FROM STDIN is not possible here: nothing can send it rows. Use INSERT, or COPY from a file of the server's, or psql"
        case .out: "COPY … TO STDOUT is not possible here: nothing can take its rows. Use SELECT, or COPY to a file of the server's, or psql"
        case .both: "replication (COPY BOTH) is not possible here"
        }
    }
}

extension PostgresConnection {
    /// Ends a COPY, so that the connection can go on.
    ///
    /// - Returns: nil when the server's next answers are to be taken, else what to do.
    func refuse(_ copy: Copy, _ state: inout State, _ libpq: LibpqConnection) -> Outcome? {
        state.operation?.fail(.unsupported(copy.refusal))
        // In the middle of a batch the server would take the statements that follow for rows.
        guard !state.inPipeline else { return end(&state, with: copy.refusal) }
        switch copy {
        case .in:
            guard libpq.endCopyIn(copy.refusal), case let flushed = libpq.flush(), flushed != .failed else {
                return end(&state, with: libpq.errorMessage)
            }
            if flushed == .wouldBlock { loop.update(socket, [.readable, .writable]) }
            return nil
        case .out:
            switch libpq.discardCopyOut() {
            case .over: return nil
            case .failed: return end(&state, with: libpq.errorMessage)
            // It may be long: the caller is told now, and `recover` has the server cancel it.
            case .toCome: return state.abandonOperation().map { .answer($0.responder, Operation.Answer(error: .unsupported(copy.refusal))) } ?? .nothing
            }
        case .both: return end(&state, with: copy.refusal)
        }
    }
}
