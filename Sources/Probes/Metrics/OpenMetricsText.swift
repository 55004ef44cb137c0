/// The OpenMetrics 1.0 text format: what Prometheus asks for first.
///
/// Source: OpenMetrics 1.0.0 specification, "Text format". Series have the same names and labels as in `PrometheusText`, so that no
/// dashboard depends on what a scraper negotiated. That is why a state set is declared a gauge: the specification's own type
/// would rename its label to the metric's name. Bucket bounds are the one exception (`1.0` for `1`), as the specification asks.
public enum OpenMetricsText {
    public static let contentType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    /// Families by name, samples by label values; the same families give the same bytes.
    public static func render(_ families: [MetricFamily]) -> [UInt8] {
        let families = families.inOrder()
        var writer = ExpositionWriter(capacity: families.expectedBytes, canonicalBounds: true)
        for family in families {
            let definition = family.definition
            writer.append("# TYPE ")
            writer.append(definition.familyName)
            writer.append(definition.kind.openMetricsName)
            if let unit = definition.unit {
                writer.append("# UNIT ")
                writer.append(definition.familyName)
                writer.append(" ")
                writer.append(unit)
                writer.append("\n")
            }
            writer.append("# HELP ")
            writer.append(definition.familyName)
            writer.append(" ")
            writer.appendEscaped(definition.help, quotes: true)
            writer.append("\n")
            writer.appendSamples(of: family)
        }
        writer.append("# EOF\n")
        return writer.bytes
    }
}

extension MetricDefinition.Kind {
    fileprivate var openMetricsName: String {
        switch self {
        case .counter: " counter\n"
        case .histogram: " histogram\n"
        case .info: " info\n"
        case .gauge, .stateSet: " gauge\n"
        }
    }
}
