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

    /// How many servers it names; each of them may have several addresses.
    var hosts: Int { HostList(keywords)?.entries.count ?? 1 }

    /// Names that are resolved for each attempt to connect, at the same time.
    var namesToResolve: Int { Set((HostList(keywords)?.entries ?? []).compactMap(\.nameToResolve)).count }

    /// For people: host, port and database, never the user's secret.
    public var description: String {
        let host = keywords["host"] ?? keywords["hostaddr"] ?? "local socket"
        return "\(host):\(keywords["port"] ?? "5432")/\(keywords["dbname"] ?? keywords["user"] ?? "")"
    }
}
