/// FNV-1a, 64 bits: the same on every machine, in every process and in every version. It tells things apart, and protects nothing.
///
/// Source: Fowler, Noll, Vo: draft-eastlake-fnv, sections 2 and 5.
public struct FNV1a: Sendable {
    public private(set) var hash: UInt64 = 0xcbf2_9ce4_8422_2325

    public init() {}

    public init(_ bytes: some Sequence<UInt8>) {
        mix(bytes)
    }

    public mutating func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }

    public mutating func mix(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { mix(byte) }
    }

    /// Sixteen hexadecimal digits.
    public var text: String {
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
