/// A TCP port as people write it: digits alone, 1 to 65535.
///
/// The upper bound is more than politeness: SwiftNIO ends the process when an address is made of a larger number.
public func portNumber(_ text: some StringProtocol) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let number = Int(text) else { return nil }
    return (1...65_535).contains(number) ? number : nil
}
