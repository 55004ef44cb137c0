public import Vitals

/// A definition and what was found for it. Built anew from snapshots whenever the exposition is rendered.
///
/// What is unknown is absent: adding nil adds no sample.
public struct MetricFamily: Sendable {
    public struct Sample: Sendable {
        /// In the order of `MetricDefinition.labels`.
        public var labels: [String]
        public var value: Value
    }

    public enum Value: Sendable {
        case integer(Int)
        case number(Double)
        case histogram(HistogramSnapshot)
    }

    public let definition: MetricDefinition
    public internal(set) var samples: [Sample] = []

    public init(_ definition: MetricDefinition) {
        self.definition = definition
    }

    public init(_ definition: MetricDefinition, _ value: Int?, _ labels: String...) {
        self.init(definition)
        if let value { append(.integer(value), labels) }
    }

    public init(_ definition: MetricDefinition, _ value: Double?, _ labels: String...) {
        self.init(definition)
        if let value { append(.number(value), labels) }
    }

    public init(_ definition: MetricDefinition, _ value: HistogramSnapshot?, _ labels: String...) {
        self.init(definition)
        if let value { append(.histogram(value), labels) }
    }

    public mutating func add(_ value: Int?, _ labels: String...) {
        if let value { append(.integer(value), labels) }
    }

    public mutating func add(_ value: Double?, _ labels: String...) {
        if let value { append(.number(value), labels) }
    }

    public mutating func add(_ value: HistogramSnapshot?, _ labels: String...) {
        if let value { append(.histogram(value), labels) }
    }

    /// One sample for each of `all`: 1 for `state`, 0 for the others. `labels` are those before the state.
    public mutating func add(state: String, of all: [String], _ labels: String...) {
        precondition(definition.kind == .stateSet, "\(definition.name) is no state set")
        for candidate in all { append(.integer(candidate == state ? 1 : 0), labels + [candidate]) }
    }

    /// Facts, carried by the labels alone.
    public mutating func add(info labels: String...) {
        precondition(definition.kind == .info, "\(definition.name) is no info")
        append(.integer(1), labels)
    }

    /// Time series this family becomes once rendered.
    public var seriesCount: Int {
        samples.reduce(0) { total, sample in
            guard case .histogram(let snapshot) = sample.value else { return total + 1 }
            return total + snapshot.counts.count + 2
        }
    }

    private mutating func append(_ value: Value, _ labels: [String]) {
        precondition(labels.count == definition.labels.count, "\(definition.name) has labels \(definition.labels)")
        if case .histogram = value {
            precondition(definition.kind == .histogram, "\(definition.name) is no histogram")
        } else {
            precondition(definition.kind != .histogram, "\(definition.name) is a histogram")
        }
        samples.append(Sample(labels: labels, value: value))
    }
}

extension [MetricFamily] {
    /// As an exposition needs them: by name, the samples of one name together and by label values, nothing twice, empty ones left out.
    ///
    /// A scraper refuses a whole answer for one repeated series, so of two with the same labels the first stays.
    func inOrder() -> [MetricFamily] {
        var merged: [MetricFamily] = []
        for family in sorted(by: { $0.definition.name < $1.definition.name }) where !family.samples.isEmpty {
            if let last = merged.indices.last, merged[last].definition.name == family.definition.name {
                precondition(merged[last].definition == family.definition, "\(family.definition.name) is defined twice")
                merged[last].samples += family.samples
            } else {
                merged.append(family)
            }
        }
        for index in merged.indices { merged[index].sortSamples() }
        return merged
    }

    /// Keeps at most `limit` series, whole families by name; the second value says how many were left out.
    ///
    /// A bound on what label values from outside can do to a scraper. Source: `healthd_exposition_series_dropped_total`.
    public func limited(toSeries limit: Int) -> (kept: [MetricFamily], dropped: Int) {
        var kept: [MetricFamily] = []
        var room = limit
        var dropped = 0
        for var family in inOrder() {
            let series = family.seriesCount
            if series <= room {
                room -= series
            } else {
                let perSample = series / family.samples.count
                let fitting = room / perSample
                family.samples.removeLast(family.samples.count - fitting)
                dropped += series - family.seriesCount
                room -= family.seriesCount
            }
            kept.append(family)
        }
        return (kept, dropped)
    }
}

extension MetricFamily {
    fileprivate mutating func sortSamples() {
        guard samples.count > 1 else { return }
        samples.sort { $0.labels.lexicographicallyPrecedes($1.labels) }
        var previous: [String]?
        samples.removeAll { sample in
            defer { previous = sample.labels }
            guard let previous else { return false }
            // Swift calls canonically equivalent strings equal; a scraper compares bytes.
            return previous == sample.labels && zip(previous, sample.labels).allSatisfy { $0.utf8.elementsEqual($1.utf8) }
        }
    }
}
