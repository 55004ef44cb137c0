/// One way of looking at a component, again and again.
public struct Probe: Sendable {
    public var id: ProbeID
    public var component: ComponentID
    /// From the start of one run to the start of the next.
    public var interval: Duration
    /// A run that takes longer counts as `timeout`.
    public var timeout: Duration
    public var atTimeout: AtTimeout
    /// Looks once. Throws `ProbeFailure` when the target is not well; any other error counts as `error`.
    ///
    /// Should end soon after cancellation; one that does not is never started a second time beside itself.
    public var measure: @Sendable () async throws -> Measurement

    /// What becomes of a run at its timeout, when its sample has been taken. What it still returns is dropped, and no other begins before.
    public enum AtTimeout: Sendable {
        case cancelled
        /// It goes on to its own end: what it began somewhere else is ended in order, and not begun anew by each look.
        case left
    }

    public init(
        id: ProbeID, component: ComponentID, interval: Duration = .seconds(1), timeout: Duration = .milliseconds(500),
        atTimeout: AtTimeout = .cancelled, measure: @escaping @Sendable () async throws -> Measurement
    ) {
        precondition(interval > .zero && timeout > .zero, "a probe needs an interval and a timeout")
        self.id = id
        self.component = component
        self.interval = interval
        self.timeout = timeout
        self.atTimeout = atTimeout
        self.measure = measure
    }
}
