/// How one run of a probe ended: tells down from hung from locked out from full.
public enum ProbeOutcome: String, Sendable, Hashable, Codable, CaseIterable {
    case ok
    /// Nothing came within the probe's timeout.
    case timeout
    /// No connection to it: nobody listens there, or no way leads to it.
    case unreachable
    /// It answers, and does not let us in.
    case auth
    /// Something answered, but not what was asked.
    case `protocol`
    /// It is there and turns newcomers away: no connection slot left.
    case full
    /// Any other failure of the look.
    case error
    /// Not begun, because the run before it has not come back yet.
    case skipped
}

/// What a probe throws when its target is not well.
public struct ProbeFailure: Error, Sendable, Hashable, CustomStringConvertible {
    public var outcome: ProbeOutcome
    /// What happened, in a few words and with numbers; never a secret.
    public var message: String

    public init(_ outcome: ProbeOutcome, _ message: String) {
        self.outcome = outcome
        self.message = message
    }

    /// `down: connection refused`, `not answering: no reply within 500 ms`, `full: 100 of 100 connections in use`.
    public var description: String { "\(outcome.words): \(message)" }
}

extension ProbeOutcome {
    /// What a person is told first.
    public var words: String {
        switch self {
        case .ok: "answering"
        case .timeout, .skipped: "not answering"
        case .unreachable: "down"
        case .auth: "locked out"
        case .protocol: "answering wrongly"
        case .full: "full"
        case .error: "failing"
        }
    }
}
