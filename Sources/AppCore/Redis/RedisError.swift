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
        case .down(let reason, _), .connectionLost(let reason), .refused(let reason): RedisTrouble.of(reason)?.kind ?? .other
        }
    }

    /// What happened, and what a person can do where something can be done.
    public var explained: String {
        switch self {
        case .refused(let message): RedisTrouble.explained(message)
        default: description
        }
    }

    /// What a replica would say to a write, said by us: it told its role.
    static let isReplica = RedisError.refused("READONLY (its role is replica)")

    /// Redis is there and answers; this one command is not for us, because of its ACL or because it has another name there.
    var isForbidden: Bool {
        guard case .refused(let message) = self, let trouble = RedisTrouble.of(message) else { return false }
        return trouble == .forbidden || trouble == .lacking
    }

    /// As the answer to a PING it shows that Redis is there and serves: PING is not for us, or is refused because writes are.
    var isAnswerToPing: Bool {
        guard case .refused(let message) = self else { return false }
        return isForbidden || RedisTrouble.of(message) == .unsaved
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
