/// The formats `/metrics` speaks, and which of them a scraper gets.
public enum ExpositionFormat: String, Sendable, Hashable, CaseIterable {
    case text
    case openMetrics = "openmetrics"

    public var contentType: String {
        switch self {
        case .text: PrometheusText.contentType
        case .openMetrics: OpenMetricsText.contentType
        }
    }

    public func render(_ families: [MetricFamily]) -> [UInt8] {
        switch self {
        case .text: PrometheusText.render(families)
        case .openMetrics: OpenMetricsText.render(families)
        }
    }

    /// The acceptable format of the highest quality; of equals the one named first. Text when nothing fits: a scraper that asks for
    /// something else still gets metrics, never an error page.
    ///
    /// Source: RFC 9110, 12.5.1; prometheus.io/docs/instrumenting/content_negotiation. A version we do not speak is passed over,
    /// so `version=0.0.1` alone is not answered with 1.0.0, nor the other way round.
    public static func negotiated(accept: String?) -> ExpositionFormat {
        var best: (format: ExpositionFormat, quality: Double)?
        for range in HeaderElement.list(accept ?? "") {
            guard let format = format(for: range), range.quality > (best?.quality ?? 0) else { continue }
            best = (format, range.quality)
        }
        return best?.format ?? .text
    }

    private static func format(for range: HeaderElement) -> ExpositionFormat? {
        let version = range.parameters["version"]
        switch range.value {
        case "application/openmetrics-text": return version == nil || version == "1.0.0" ? .openMetrics : nil
        case "text/plain": return version == nil || version == "0.0.4" ? .text : nil
        case "text/*", "*/*": return .text
        case "application/*": return .openMetrics
        default: return nil
        }
    }
}

/// Whether the client takes gzip, by its `Accept-Encoding`: absent means no, `q=0` means no, `*` stands for all not named.
///
/// Source: RFC 9110, 12.5.3.
public func acceptsGzip(acceptEncoding: String?) -> Bool {
    let codings = HeaderElement.list(acceptEncoding ?? "")
    let coding = codings.first { $0.value == "gzip" || $0.value == "x-gzip" } ?? codings.first { $0.value == "*" }
    return (coding?.quality ?? 0) > 0
}

/// One element of a header list: `text/plain;version=0.0.4;q=0.5`.
struct HeaderElement {
    /// In lower case.
    var value: String
    /// Names in lower case, quotes removed.
    var parameters: [String: String] = [:]
    /// Between 0 and 1; 1 when absent, 0 when unreadable.
    var quality = 1.0

    static func list(_ header: String) -> [HeaderElement] {
        split(header, at: ",").compactMap { element in
            let parts = split(element, at: ";").map(trimmed)
            guard let first = parts.first, !first.isEmpty else { return nil }
            var result = HeaderElement(value: first.lowercased())
            for part in parts.dropFirst() {
                guard let equals = part.firstIndex(of: "=") else { continue }
                let name = trimmed(part[..<equals]).lowercased()
                let value = trimmed(part[part.index(after: equals)...])
                if name == "q" {
                    result.quality = Double(value).flatMap { (0...1).contains($0) ? $0 : nil } ?? 0
                } else {
                    result.parameters[name] = value.filter { $0 != "\"" }
                }
            }
            return result
        }
    }

    /// Separators inside quotes do not separate.
    private static func split(_ text: some StringProtocol, at separator: Character) -> [String] {
        var parts = [""]
        var quoted = false
        for character in text {
            if character == "\"" { quoted.toggle() }
            if character == separator && !quoted { parts.append("") } else { parts[parts.count - 1].append(character) }
        }
        return parts
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        let blank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        let head = text.drop(while: blank)
        return String(head.reversed().drop(while: blank).reversed())
    }
}
