/// The Prometheus text exposition format 0.0.4: what every scraper reads.
///
/// Source: prometheus.io/docs/instrumenting/exposition_formats.
public enum PrometheusText {
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Families by name, samples by label values; the same families give the same bytes.
    public static func render(_ families: [MetricFamily]) -> [UInt8] {
        let families = families.inOrder()
        var writer = ExpositionWriter(capacity: families.expectedBytes, canonicalBounds: false)
        for family in families {
            let definition = family.definition
            writer.append("# HELP ")
            writer.append(definition.name)
            writer.append(" ")
            // Only OpenMetrics escapes quotes in help.
            writer.appendEscaped(definition.help, quotes: false)
            writer.append("\n# TYPE ")
            writer.append(definition.name)
            writer.append(definition.kind.textName)
            writer.appendSamples(of: family)
        }
        return writer.bytes
    }
}

extension MetricDefinition.Kind {
    /// The format knows neither info nor state set: both are gauges there.
    fileprivate var textName: String {
        switch self {
        case .counter: " counter\n"
        case .histogram: " histogram\n"
        case .gauge, .info, .stateSet: " gauge\n"
        }
    }
}

extension [MetricFamily] {
    /// Room for a rendering without growing twice: about 80 bytes a series, twice the help.
    var expectedBytes: Int {
        reduce(0) { $0 + $1.seriesCount * 96 + 256 }
    }
}
