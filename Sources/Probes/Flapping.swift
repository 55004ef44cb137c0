public import Vitals

/// Whether something changes too often for each change to be told.
public struct Flapping: Sendable, Hashable {
    public struct Policy: Sendable, Hashable {
        /// More changes than this within `window` are flapping.
        public var changes: Int
        public var window: Duration
        /// Flapping ends when nothing has changed for this long; the state of then is told.
        public var quiet: Duration

        public init(changes: Int = 4, within window: Duration = .seconds(600), quiet: Duration = .seconds(120)) {
            precondition(changes >= 1 && window > .zero && quiet > .zero, "flapping needs a count, a window and a quiet time")
            self.changes = changes
            self.window = window
            self.quiet = quiet
        }
    }

    /// The latest changes, never more than decide the question.
    private var changes: [MonotonicInstant] = []

    public init() {}

    /// - Returns: whether this change is one too many.
    public mutating func change(at now: MonotonicInstant, by policy: Policy) -> Bool {
        changes.append(now)
        changes.removeAll { now - $0 > policy.window }
        changes = changes.suffix(policy.changes + 1)
        return changes.count > policy.changes
    }

    /// When the quiet time is over if nothing changes any more; nil when nothing ever did.
    public func calmAt(by policy: Policy) -> MonotonicInstant? {
        changes.last.map { $0 + policy.quiet }
    }
}
