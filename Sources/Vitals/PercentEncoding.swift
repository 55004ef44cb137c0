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

extension Substring {
    /// What stands before and after the first `scalar`; nil without one. A combining mark behind it does not hide it, as it would from
    /// `split`, which goes by characters.
    public func parted(at scalar: Unicode.Scalar) -> (before: Substring, after: Substring)? {
        unicodeScalars.firstIndex(of: scalar).map { (self[..<$0], self[unicodeScalars.index(after: $0)...]) }
    }

    /// The same for the last `scalar`.
    public func partedAtLast(_ scalar: Unicode.Scalar) -> (before: Substring, after: Substring)? {
        unicodeScalars.lastIndex(of: scalar).map { (self[..<$0], self[unicodeScalars.index(after: $0)...]) }
    }

    /// Up to the first of `scalars`.
    public func upTo(_ scalars: Set<Unicode.Scalar>) -> Substring {
        self[..<(unicodeScalars.firstIndex { scalars.contains($0) } ?? endIndex)]
    }

    /// All pieces between `scalar`, empty ones as well: one more than there are of it.
    public func pieces(between scalar: Unicode.Scalar) -> [Substring] {
        unicodeScalars.split(separator: scalar, omittingEmptySubsequences: false).map { Substring($0) }
    }
}

/// A TCP port as people write it: digits alone, 1 to 65535.
///
/// The upper bound is more than politeness: SwiftNIO ends the process when an address is made of a larger number.
public func portNumber(_ text: some StringProtocol) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let number = Int(text) else { return nil }
    return (1...65_535).contains(number) ? number : nil
}
