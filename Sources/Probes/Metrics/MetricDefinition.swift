/// What a metric is called, what it means and which labels tell its samples apart: the contract with dashboards and rules.
public struct MetricDefinition: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// Only grows while the process lives. The name ends in `_total`.
        case counter
        case gauge
        /// Cumulative buckets, sum and count; see `HistogramSnapshot`.
        case histogram
        /// Facts carried by labels, value 1. The name ends in `_info`.
        case info
        /// One sample for each state, 1 for the present one. The last label carries the state.
        case stateSet
    }

    public let name: String
    public let kind: Kind
    /// Label names in the order in which samples give their values.
    public let labels: [String]
    /// One sentence for a person: what it counts, and where it is not obvious, what a rise means.
    public let help: String

    public init(_ name: String, _ kind: Kind, _ labels: [String] = [], help: String) {
        switch kind {
        case .counter: precondition(name.hasSuffix("_total"), "a counter's name ends in _total")
        case .info: precondition(name.hasSuffix("_info"), "an info's name ends in _info")
        case .stateSet: precondition(!labels.isEmpty, "a state set needs a label for the state")
        case .gauge, .histogram: break
        }
        self.name = name
        self.kind = kind
        self.labels = labels
        self.help = help
    }

    /// The base unit the name ends in (before `_total`), if it has one.
    public var unit: String? {
        guard kind != .info, kind != .stateSet else { return nil }
        let last = familyName.split(separator: "_").last ?? ""
        return Self.units.contains(last) ? String(last) : nil
    }

    /// The name without the suffix that OpenMetrics keeps for samples.
    ///
    /// Source: OpenMetrics 1.0, "Metric types": `_total` and `_info` belong to the sample, not to the family.
    var familyName: Substring {
        switch kind {
        case .counter: name.dropLast("_total".count)
        case .info: name.dropLast("_info".count)
        case .gauge, .histogram, .stateSet: name[...]
        }
    }

    private static let units: Set<Substring> = ["seconds", "bytes", "ratio"]
}
