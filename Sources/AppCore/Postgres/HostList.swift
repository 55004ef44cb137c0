/// One element of libpq's host list. At least one of name and address is set, or neither for libpq's own default.
struct HostEntry: Sendable, Hashable, CustomStringConvertible {
    /// A name (also what a certificate is checked against), a numeric address, or the folder of a unix socket.
    var host: String?
    /// Numeric. With it libpq resolves nothing, and so does not block.
    var address: String?
    var port: String?

    var isSocket: Bool { address == nil && (host.map { $0.hasPrefix("/") || $0.hasPrefix("@") } ?? true) }

    /// What must be resolved before libpq sees it.
    var nameToResolve: String? {
        guard address == nil, !isSocket, let host, !NameResolver.isNumeric(host) else { return nil }
        return host
    }

    var description: String {
        let name =
            switch (host, address) {
            case (let host?, let address?) where host != address: "\(host) (\(address))"
            default: host ?? address ?? "local socket"
            }
        return "\(name), port \(port ?? "5432")"
    }
}

/// The servers among libpq's keywords, element by element, and back.
///
/// Source: PostgreSQL 15, section 34.1.1.3, "Specifying Multiple Hosts", and connectOptions2 of `fe-connect.c`: `host` and `hostaddr` have
/// the same number of elements when both are given; `port` has as many, or one for all; an empty element means the default, and
/// an element of `hostaddr` is looked at before that of `host`.
struct HostList: Sendable, Hashable {
    var entries: [HostEntry]

    init(entries: [HostEntry]) {
        self.entries = entries
    }

    /// Nil when the lists do not fit together: libpq then says so in its own words.
    init?(_ keywords: [String: String]) {
        func list(_ keyword: String) -> [String?]? {
            guard let text = keywords[keyword], !text.isEmpty else { return nil }
            return text.split(separator: ",", omittingEmptySubsequences: false).map { $0.isEmpty ? nil : String($0) }
        }
        let hosts = list("host")
        let addresses = list("hostaddr")
        let ports = list("port")
        let count = hosts?.count ?? addresses?.count ?? 1
        if let addresses, addresses.count != count { return nil }
        if let ports, ports.count != 1, ports.count != count { return nil }
        entries = (0..<count).map { index in
            HostEntry(host: hosts?[index], address: addresses?[index], port: ports.map { $0.count == 1 ? $0[0] : $0[index] } ?? nil)
        }
    }

    /// The same keywords with these servers.
    func keywords(_ keywords: [String: String]) -> [String: String] {
        var result = keywords
        for (keyword, part) in [("host", \HostEntry.host), ("hostaddr", \.address), ("port", \.port)] {
            let values = entries.map { $0[keyPath: part] ?? "" }
            result[keyword] = values.contains { !$0.isEmpty } ? values.joined(separator: ",") : nil
        }
        return result
    }

    /// The element libpq was busy with, by what it tells of it; the first when it cannot be told.
    func index(of current: HostEntry) -> Int {
        func matches(_ entry: HostEntry, byAddress: Bool) -> Bool {
            let name = entry.host ?? entry.address
            return (name == nil || name == current.host) && (entry.port ?? "5432") == (current.port ?? "5432")
                && (!byAddress || entry.address == nil || entry.address == current.address)
        }
        return entries.firstIndex { matches($0, byAddress: true) } ?? entries.firstIndex { matches($0, byAddress: false) } ?? 0
    }
}
