/// `%41` and its like in a URL: what they stand for, and how a byte is written that may not stand there itself (RFC 3986, section 2.1).
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

    /// The bytes of `text`, those escaped that are not to be kept.
    public static func encoded(_ text: some StringProtocol, keeping isKept: (UInt8) -> Bool) -> String {
        var result = ""
        for byte in text.utf8 {
            if isKept(byte) {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }

    /// A path as a URL has it: what is reserved there for something else is escaped, `/` is not.
    public static func encoded(path: String) -> String {
        encoded(path) { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: "-._~/".utf8.contains(byte)
            }
        }
    }
}
