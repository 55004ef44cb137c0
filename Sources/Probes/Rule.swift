/// What makes a component degraded or critical, and what lets it recover. The one source of a threshold:
/// verdicts, alerts, the page, `/api/health` and the metrics read it from here.
public struct Rule: Sendable, Hashable {
    /// `pool-saturation`: also the name of the alert. Unique on a board.
    public var name: String
    public var component: ComponentID
    /// Whose samples are judged.
    public var probe: ProbeID
    public var condition: Condition
    /// How long the votes must have been cast before a worse state is entered. Measured between samples.
    public var enterAfter: Duration
    /// How long the samples must have stayed below the leave threshold before a better state is entered. Measured between samples.
    public var leaveAfter: Duration
    /// Without a sample for this long the state is unknown; nil means three intervals of the probe.
    public var staleAfter: Duration?
    /// What the value is called in a reason: `pool saturation`.
    public var title: String
    /// The rule whose alert tells of the same cause. This one is shown, and is no alert of its own: one cause, one page.
    public var toldBy: String?

    public enum Condition: Sendable, Hashable {
        /// The probe itself fails, or what it looks at answers and has something to complain of.
        case failures(Failures)
        /// A value of its measurements is too high, or too low.
        case value(Value)
    }

    /// Votes that the probe failed.
    public struct Failures: Sendable, Hashable {
        /// Failures that make the component critical: 2 of the last 3.
        public var critical: Votes
        /// Failures that make it degraded (flaky); nil never. Consecutive counts would miss one failure in three.
        public var degraded: Votes?

        public init(critical: Votes = Votes(2, of: 3), degraded: Votes? = Votes(3, of: 10)) {
            self.critical = critical
            self.degraded = degraded
        }
    }

    public struct Value: Sendable, Hashable {
        /// Of `Measurement.values`.
        public var key: String
        public var unit: Unit
        public var direction: Direction
        /// Entered at this value or beyond; nil never.
        public var degraded: Double?
        public var critical: Double?
        /// `degraded` is left strictly below this (above, when lower is worse).
        public var leaveDegraded: Double?
        /// `critical` is left strictly below this.
        public var leaveCritical: Double?
        public var votes: Votes
        public var absence: Absence

        /// - Parameters:
        ///   - leave: where the lowest state is left; nil is the enter threshold itself.
        ///   - leaveCritical: nil keeps the same distance below `critical` as `leave` has below `degraded`.
        public init(
            _ key: String, unit: Unit = .number, direction: Direction = .higherIsWorse, degraded: Double?, critical: Double?,
            leave: Double? = nil, leaveCritical: Double? = nil, votes: Votes = Votes(1, of: 1), absence: Absence = .unknown
        ) {
            self.key = key
            self.unit = unit
            self.direction = direction
            self.degraded = degraded
            self.critical = critical
            leaveDegraded = leave ?? degraded
            self.votes = votes
            self.absence = absence
            self.leaveCritical =
                switch (degraded, critical, leave) {
                case (let degraded?, let critical?, let leave?): leaveCritical ?? critical - (degraded - leave)
                case (nil, let critical?, let leave?): leaveCritical ?? min(critical, leave)
                case (_, let critical, _): leaveCritical ?? critical
                }
        }
    }

    /// k of the last n samples; fewer than n samples are no obstacle once k of them agree.
    public struct Votes: Sendable, Hashable {
        public var needed: Int
        public var of: Int

        public init(_ needed: Int, of: Int) {
            precondition(needed >= 1 && of >= needed, "votes are k of n with 1 <= k <= n")
            self.needed = needed
            self.of = of
        }
    }

    public enum Direction: String, Sendable, Hashable, Codable {
        case higherIsWorse, lowerIsWorse
    }

    /// What a measurement without the value means.
    public enum Absence: String, Sendable, Hashable, Codable {
        /// Nothing is known: after `staleAfter` the state is unknown.
        case unknown
        /// There was nothing to judge (no lookups, no queries): as good as a good value.
        case clear
    }

    public init(
        name: String, component: ComponentID, probe: ProbeID, condition: Condition, title: String? = nil,
        enterAfter: Duration = .zero, leaveAfter: Duration, staleAfter: Duration? = nil, toldBy: String? = nil
    ) {
        self.name = name
        self.component = component
        self.probe = probe
        self.condition = condition
        self.title = title ?? name.split(separator: "-").joined(separator: " ")
        self.enterAfter = enterAfter
        self.leaveAfter = leaveAfter
        self.staleAfter = staleAfter
        self.toldBy = toldBy
    }

    /// How many samples a verdict may look back on.
    public var memory: Int {
        switch condition {
        case .failures(let failures): max(failures.critical.of, failures.degraded?.of ?? 1)
        case .value(let value): value.votes.of
        }
    }

    /// Whether the sample says anything about this rule.
    public func concerns(_ sample: Sample) -> Bool {
        guard sample.probe == probe else { return false }
        switch condition {
        case .failures: return true
        case .value(let value):
            guard let measurement = sample.measurement else { return false }
            return value.absence == .clear || measurement.values[value.key].map { $0.isFinite } ?? false
        }
    }
}
