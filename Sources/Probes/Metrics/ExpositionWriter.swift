import Vitals

/// One growing buffer with the few shapes both text formats are made of.
///
/// Numbers and labels are written byte by byte: a sample costs no `String`. Only a fractional number passes through its
/// shortest decimal text, which for up to 15 digits lives inside the value itself.
struct ExpositionWriter {
    private(set) var bytes: [UInt8] = []

    /// How bucket bounds are spelled: `1` in text 0.0.4, `1.0` in OpenMetrics ("canonical numbers").
    let canonicalBounds: Bool

    init(capacity: Int, canonicalBounds: Bool) {
        bytes.reserveCapacity(capacity)
        self.canonicalBounds = canonicalBounds
    }

    mutating func append(_ text: some StringProtocol) {
        bytes.append(contentsOf: text.utf8)
    }

    mutating func append(_ byte: UInt8) {
        bytes.append(byte)
    }

    mutating func append(_ value: MetricFamily.Value) {
        switch value {
        case .integer(let integer): append(integer)
        case .number(let number): append(number)
        case .histogram: preconditionFailure("a histogram is several samples")
        }
    }

    mutating func append(_ integer: Int) {
        if integer < 0 { bytes.append(UInt8(ascii: "-")) }
        var magnitude = integer.magnitude
        let start = bytes.count
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(magnitude % 10))
            magnitude /= 10
        } while magnitude > 0
        bytes[start...].reverse()
    }

    /// Exact: reads back as the same number. Whole numbers have no fraction.
    mutating func append(_ number: Double) {
        if number.isNaN { return append("NaN") }
        if number.isInfinite { return append(number < 0 ? "-Inf" : "+Inf") }
        // Beyond 2^53 whole numbers have gaps: the shortest text says it with fewer digits.
        if number == number.rounded(.towardZero), abs(number) < 9_007_199_254_740_992 { return append(Int(number)) }
        append(number.description)
    }

    /// `{a="1",b="2"`, without the closing brace; nothing when there are no labels. Returns whether a brace is open.
    mutating func openLabels(_ names: [String], _ values: [String]) -> Bool {
        guard !names.isEmpty else { return false }
        for index in names.indices {
            append(UInt8(ascii: index == 0 ? "{" : ","))
            append(names[index])
            append("=\"")
            appendEscaped(values[index], quotes: true)
            append(UInt8(ascii: "\""))
        }
        return true
    }

    /// Escapes the bytes the formats reserve: `\` and newline, and `"` where the text stands in quotes.
    ///
    /// Source: Prometheus text exposition format 0.0.4; OpenMetrics 1.0, ABNF `escaped-char`.
    mutating func appendEscaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\n"): append("\\n")
            case UInt8(ascii: "\"") where quotes: append("\\\"")
            default: bytes.append(byte)
            }
        }
    }

    /// The samples of one family, already in order.
    mutating func appendSamples(of family: MetricFamily) {
        var bounds: [Double] = []
        var boundTexts: [[UInt8]] = []
        for sample in family.samples {
            if case .histogram(let snapshot) = sample.value {
                if snapshot.bounds != bounds {
                    bounds = snapshot.bounds
                    boundTexts = bounds.map(boundText)
                }
                appendHistogram(snapshot, boundTexts, family.definition, sample.labels)
            } else {
                append(family.definition.name)
                if openLabels(family.definition.labels, sample.labels) { append(UInt8(ascii: "}")) }
                append(UInt8(ascii: " "))
                append(sample.value)
                append(UInt8(ascii: "\n"))
            }
        }
    }

    private mutating func appendHistogram(
        _ snapshot: HistogramSnapshot, _ boundTexts: [[UInt8]], _ definition: MetricDefinition, _ labels: [String]
    ) {
        // The labels are escaped once, then copied from the buffer itself for every further line.
        let start = bytes.count
        let open = openLabels(definition.labels, labels)
        let rendered = Array(bytes[start...])
        bytes.removeSubrange(start...)

        var cumulative = 0
        for index in snapshot.counts.indices {
            cumulative += snapshot.counts[index]
            append(definition.name)
            append("_bucket")
            bytes.append(contentsOf: rendered)
            append(open ? ",le=\"" : "{le=\"")
            if index < boundTexts.count { bytes.append(contentsOf: boundTexts[index]) } else { append("+Inf") }
            append("\"} ")
            append(cumulative)
            append(UInt8(ascii: "\n"))
        }
        for suffix in ["_sum", "_count"] {
            append(definition.name)
            append(suffix)
            bytes.append(contentsOf: rendered)
            if open { append(UInt8(ascii: "}")) }
            append(UInt8(ascii: " "))
            if suffix == "_sum" { append(snapshot.sum) } else { append(cumulative) }
            append(UInt8(ascii: "\n"))
        }
    }

    private func boundText(_ bound: Double) -> [UInt8] {
        var writer = ExpositionWriter(capacity: 8, canonicalBounds: canonicalBounds)
        writer.append(bound)
        if canonicalBounds, !writer.bytes.contains(where: { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "e") }) {
            writer.append(".0")
        }
        return writer.bytes
    }
}
