/// Text that is safe to put into a page: literals as written, everything interpolated escaped.
///
/// `"<td>\(name)</td>" as HTML` cannot inject, whatever `name` holds. Other `HTML` values are inserted as they are.
struct HTML: ExpressibleByStringInterpolation, Sendable, Hashable {
    private(set) var text: String

    init(stringLiteral value: String) { text = value }

    init(stringInterpolation: StringInterpolation) { text = stringInterpolation.text }

    init(_ parts: [HTML]) { text = parts.map(\.text).joined() }

    static let empty: HTML = ""

    var isEmpty: Bool { text.isEmpty }

    static func += (left: inout HTML, right: HTML) { left.text += right.text }

    struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var text = ""

        init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + interpolationCount * 16)
        }

        mutating func appendLiteral(_ literal: String) { text += literal }

        mutating func appendInterpolation(_ value: String) { text += HTML.escaped(value) }

        mutating func appendInterpolation(_ value: Int) { text += "\(value)" }

        mutating func appendInterpolation(_ html: HTML) { text += html.text }

        mutating func appendInterpolation(_ parts: [HTML]) {
            for part in parts { text += part.text }
        }

        /// The part if there is a value, else nothing.
        mutating func appendInterpolation<Value>(_ value: Value?, _ part: (Value) -> HTML) {
            if let value { text += part(value).text }
        }
    }

    /// Escapes what HTML reserves in text and in quoted attributes. Control characters, which a page may not contain, and the
    /// marks that turn the direction of the text around them become U+FFFD.
    private static func escaped(_ value: String) -> String {
        var result = ""
        result.reserveCapacity(value.utf8.count)
        for scalar in value.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case "\n", "\t", "\r": result += " "
            case "\u{0}"..<"\u{20}", "\u{7F}"..<"\u{A0}", "\u{202A}"..."\u{202E}", "\u{2066}"..."\u{2069}": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
