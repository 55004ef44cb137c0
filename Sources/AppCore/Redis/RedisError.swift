import Vitals

/// What went wrong with a command; a case per different reaction.
public enum RedisError: Error, Sendable {
    /// There is no connection. Nothing was sent; nothing is queued for later.
    case down(reason: String, since: Duration)

    /// No answer by the deadline. The connection is given up: a late reply would answer the next command.
    case timeout(after: Duration)

    /// The connection broke while the command was on its way: whether it took effect is unknown.
    case connectionLost(String)

    /// Redis refused the command: `WRONGTYPE …`, `OOM …`.
    case refused(String)

    /// So many commands already wait for an answer; this one was not sent.
    case tooManyPending(limit: Int)

    case cancelled

    /// What kept us from an answer, in the few words metrics and probes know.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Nothing listens there, or it closed the connection.
        case refused
        case timeout
        /// The password is missing or wrong, or the user may not do this.
        case auth
        /// Redis has as many clients, or as much data, as it may.
        case full
        case other
    }

    public var kind: Kind {
        switch self {
        case .timeout: .timeout
        case .tooManyPending: .full
        case .cancelled: .other
        case .down(let reason, _), .connectionLost(let reason), .refused(let reason): Self.kind(of: reason)
        }
    }

    // Redis tells errors apart by their first word, the kernel by its sentence.
    private static func kind(of reason: String) -> Kind {
        func says(_ words: String...) -> Bool { words.contains { reason.contains($0) } }
        if says("NOAUTH", "WRONGPASS", "NOPERM", "invalid password", "without any password") { return .auth }
        if says("max number of clients", "OOM ") { return .full }
        if says("no answer", "timed out", "did not answer in time") { return .timeout }
        if says("refused", "No such file", "closed", "reset by peer", "unreachable", "cannot resolve") { return .refused }
        return .other
    }
}

extension RedisError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .down(let reason, let since): "redis: down for \(since.text): \(reason)"
        case .timeout(let after): "redis: no answer within \(after.text)"
        case .connectionLost(let reason): "redis: connection lost: \(reason)"
        case .refused(let message): "redis: \(message)"
        case .tooManyPending(let limit): "redis: \(limit) commands already wait for an answer"
        case .cancelled: "redis: the caller was cancelled"
        }
    }
}
