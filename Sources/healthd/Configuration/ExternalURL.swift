import Vitals

/// The address people use for this healthd, as it stands in every alert: `https://healthd.example.org/`.
struct ExternalURL: Sendable, Hashable, CustomStringConvertible {
    let description: String

    /// Nil for another scheme, without a host, with a user or a password (everybody who is told would have it), a query, a fragment, or
    /// anything that a link cannot hold.
    init?(setting text: String) {
        guard let (scheme, rest) = text[...].parted(at: ":"), ["http", "https"].contains(scheme.lowercased()), rest.hasPrefix("//") else { return nil }
        let authority = rest.dropFirst(2).upTo(["/"])
        guard text.utf8.count <= 2_048, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"?#@\"<>\\^`{|}".utf8.contains($0) }) else { return nil }
        var (host, port) = (authority, Substring("1"))
        if authority.hasPrefix("[") {
            guard let (address, after) = authority.dropFirst().parted(at: "]"), after.isEmpty || after.hasPrefix(":") else { return nil }
            guard address.contains(":"), address.allSatisfy({ $0.isHexDigit || ":.".contains($0) }) else { return nil }
            (host, port) = (address, after.isEmpty ? port : after.dropFirst())
        } else if let (name, number) = authority.parted(at: ":") {
            (host, port) = (name, number)
        }
        guard !host.isEmpty, !host.contains("["), !host.contains("]"), portNumber(port) != nil else { return nil }
        description = text
    }
}
