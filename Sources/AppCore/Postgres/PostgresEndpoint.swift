public import Vitals

/// Which server, database and user: libpq's connection keywords, with the password kept apart so that it never prints.
public struct PostgresEndpoint: Sendable, Hashable {
    /// As in PostgreSQL 15, section 34.1.2: `host`, `port`, `dbname`, `user`, `sslmode` and so on.
    public var keywords: [String: String]
    public var password: Secret?

    public init(keywords: [String: String], password: Secret? = nil) {
        self.keywords = keywords
        self.password = password
    }

    /// For people: host, port and database, never the user's secret.
    public var description: String {
        let host = keywords["host"] ?? keywords["hostaddr"] ?? "local socket"
        return "\(host):\(keywords["port"] ?? "5432")/\(keywords["dbname"] ?? keywords["user"] ?? "")"
    }

    /// The host name that must be resolved before libpq sees it; nil for a socket folder, a numeric address or none.
    var nameToResolve: String? {
        guard keywords["hostaddr"] == nil, let host = keywords["host"], !host.isEmpty else { return nil }
        // A list of hosts is libpq's to walk; it resolves them itself.
        guard !host.hasPrefix("/"), !host.contains(",") else { return nil }
        let numeric = host.allSatisfy { $0.isHexDigit || $0 == "." || $0 == ":" } && (host.contains(":") || host.split(separator: ".").count == 4)
        return numeric ? nil : host
    }
}
