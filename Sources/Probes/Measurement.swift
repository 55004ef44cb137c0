/// What one successful run of a probe found.
///
/// A value that could not be had is left out: missing is not zero.
public struct Measurement: Sendable, Hashable {
    /// By name, in base units (seconds, bytes, ratios where 1 is full).
    public var values: [String: Double]
    /// Facts that are text: `version`, `role`.
    public var facts: [String: String]
    /// The numbers behind the values in a few words, appended to a reason: `3 callers for 2 connections, oldest waits 400 ms`.
    public var summary: String?
    /// What is wrong although the target answers; ends the sentence `postgres answers, but …`. A rule about failures is then degraded.
    public var complaint: String?

    public init(values: [String: Double] = [:], facts: [String: String] = [:], summary: String? = nil, complaint: String? = nil) {
        self.values = values
        self.facts = facts
        self.summary = summary
        self.complaint = complaint
    }
}
