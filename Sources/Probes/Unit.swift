import Vitals

/// How a value is written in a sentence.
public enum Unit: String, Sendable, Hashable, Codable {
    case number
    /// 1 is full; written in per cent.
    case ratio
    case seconds
    case bytes

    public func text(_ value: Double) -> String {
        switch self {
        case .number: Self.trimmed(value)
        case .ratio: "\(Self.trimmed(value * 100)) %"
        case .seconds: Duration(clampingSeconds: value).text
        case .bytes: Self.bytes(value)
        }
    }

    /// At most one figure after the point, without a needless `.0`.
    private static func trimmed(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        let rounded = (value * 10).rounded() / 10
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }

    private static func bytes(_ value: Double) -> String {
        var value = value
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if abs(value) < 1024 { return "\(trimmed(value)) \(unit)" }
            value /= 1024
        }
        return "\(trimmed(value)) TiB"
    }
}
