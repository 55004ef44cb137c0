/// How a notice stands with one receiver. In the last three states nobody tries to send it, unless a change of the receivers queues it again. The
/// raw values are what is stored.
enum DeliveryState: String, Sendable, Hashable {
    /// Waits to be accepted.
    case queued
    case delivered
    /// Nobody tries any more, and a line in the log says so.
    case deadLetter = "dead"
    /// Not owed any more: see `OutboxPolicy.Release`.
    case released = "superseded"
}

/// One notice as it stands with one receiver, for the policy.
struct Owed: Sendable, Hashable {
    var sequence: Int64
    var episode: String
    var status: Notice.Status
    var state: DeliveryState
    /// The receiver has answered, and did not take it.
    var wasRefused = false
}
