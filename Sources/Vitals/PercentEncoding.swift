/// What `%41` and its like stand for in a URL (RFC 3986, section 2.1).
public enum PercentEncoding {
    public enum Fault: Error, Hashable {
        /// A `%` that no two hexadecimal digits follow.
        case notHexadecimal
        /// `%00`: no name, password or path can hold it.
        case zero
        case notUTF8
    }

    public static func decoded(_ text: some StringProtocol) throws(Fault) -> String {
        var bytes: [UInt8] = []
        var rest = Substring(text).utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2).map { Character(Unicode.Scalar($0)).hexDigitValue }
            guard digits.count == 2, let high = digits[0], let low = digits[1] else { throw .notHexadecimal }
            guard high + low > 0 else { throw .zero }
            bytes.append(UInt8(high << 4 | low))
            rest = rest.dropFirst(2)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw .notUTF8 }
        return decoded
    }
}
