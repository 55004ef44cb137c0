import FoundationEssentials

/// A JSON number as it is written: its significant digits, and the power of ten of the last of them. `-12.50e3` is −125 · 10².
///
/// Two spellings of one number are equal, so it tells whether a `Double` says the same as what it was read from.
struct DecimalDigits: Hashable {
    private(set) var isNegative = false
    /// 0 to 9 each, neither the first nor the last of them 0; empty for zero.
    private(set) var digits: [UInt8] = []
    private(set) var exponent = 0

    /// What `jsonb` holds is written with so many decimals at most, trailing zeros and the exponent counted, also of zero.
    ///
    /// Source: PostgreSQL 15, NUMERIC_DSCALE_MAX.
    private static let decimals = 16_383
    /// No `Double` and no `Decimal` has as great a power of ten.
    private static let powers = -1_000_000...1_000_000

    /// - Parameter token: a number by RFC 8259, or one that Swift has written.
    /// - Returns: nil also for more decimals or a greater power than anything keeps.
    init?(_ token: some Sequence<UInt8>) {
        var places = 0
        var hasPoint = false
        var tail: [UInt8]?
        for byte in token {
            if tail != nil {
                tail?.append(byte)
                continue
            }
            switch byte {
            case UInt8(ascii: "-"): isNegative = true
            case UInt8(ascii: "."): hasPoint = true
            case UInt8(ascii: "e"), UInt8(ascii: "E"): tail = []
            case 0x30...0x39:
                digits.append(byte - 0x30)
                if hasPoint { places += 1 }
            default: return nil
            }
        }
        if let tail {
            guard let power = Int(String(decoding: tail, as: UTF8.self)), Self.powers.contains(power) else { return nil }
            exponent = power
        }
        exponent -= places
        guard exponent >= -Self.decimals else { return nil }
        while digits.last == 0 {
            digits.removeLast()
            exponent += 1
        }
        digits = Array(digits.drop { $0 == 0 })
        if digits.isEmpty { (exponent, isNegative) = (0, false) }
    }

    /// Nil beyond what `Decimal` holds exactly: 38 digits, and powers from −128 to 127.
    var decimal: Decimal? {
        guard digits.count <= 38, (-128...127).contains(exponent) else { return nil }
        func whole(_ part: some Sequence<UInt8>) -> Decimal { Decimal(part.reduce(UInt64(0)) { $0 * 10 + UInt64($1) }) }
        // 19 digits fit 64 bits.
        let (high, low) = (digits.dropLast(19), digits.suffix(19))
        let significand = whole(high) * Decimal(sign: .plus, exponent: low.count, significand: 1) + whole(low)
        return Decimal(sign: isNegative ? .minus : .plus, exponent: exponent, significand: significand)
    }
}

extension JSONValue {
    /// The value of a number's token, exactly; nil for one that neither `Int`, `Double` nor `Decimal` holds.
    init?(number token: ArraySlice<UInt8>) {
        let text = String(decoding: token, as: UTF8.self)
        if let whole = Int(text) {
            self = .integer(whole)
            return
        }
        guard let value = Double(text), value.isFinite else { return nil }
        // What has 15 digits at most comes back from a double as it was (IEEE 754, DBL_DIG); the rest of the token is no digit.
        if token.count <= 15, !token.contains(where: { $0 | 0x20 == UInt8(ascii: "e") }) {
            self = .number(value)
            return
        }
        guard let written = DecimalDigits(token) else { return nil }
        if written == DecimalDigits("\(value)".utf8) {
            self = .number(value)
        } else if let decimal = written.decimal {
            self = .decimal(decimal)
        } else {
            return nil
        }
    }
}
