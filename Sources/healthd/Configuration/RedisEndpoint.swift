import Vitals

/// Where Redis is and how to sign in.
struct RedisEndpoint: Sendable, Hashable, CustomStringConvertible {
    enum Address: Sendable, Hashable {
        case tcp(host: String, port: Int)
        case unix(path: String)
    }

    var address: Address
    var user: String?
    var password: Secret?
    var database = 0

    init(address: Address, user: String? = nil, password: Secret? = nil, database: Int = 0) {
        self.address = address
        self.user = user
        self.password = password
        self.database = database
    }

    /// Reads `redis://[[user]:password@]host[:port][/database]` and `unix:///path/to/socket[?db=N]`.
    ///
    /// Source: IANA's registration of the `redis` scheme; `unix://` as redis-py has it.
    /// - Throws: a sentence that continues "cache.url …" and never quotes what may be secret.
    init(url text: String) throws(URLComplaint) {
        if text.hasPrefix("rediss://") {
            throw URLComplaint(
                "asks for TLS (rediss://), which this version does not speak; use a tunnel, or redis:// on a trusted network")
        }
        if let scheme = ["unix://", "redis+unix://"].first(where: { text.hasPrefix($0) }) {
            try self.init(unix: text.dropFirst(scheme.count))
        } else if text.hasPrefix("redis://") {
            try self.init(tcp: text.dropFirst("redis://".count))
        } else {
            throw URLComplaint("is not understood; expected redis://HOST:PORT or unix:///PATH")
        }
    }

    private init(unix text: Substring) throws(URLComplaint) {
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = try percentDecoded(parts[0], what: "path")
        guard path.hasPrefix("/") else { throw URLComplaint("has no absolute path; expected unix:///PATH") }
        guard path.utf8.count <= 107 else {
            throw URLComplaint("has a socket path of \(path.utf8.count) bytes; the system's limit is 107")
        }
        self.init(address: .unix(path: path))
        if parts.count == 2 {
            guard parts[1].hasPrefix("db=") else { throw URLComplaint("has a parameter other than db=NUMBER") }
            database = try Self.database(parts[1].dropFirst(3))
        }
    }

    private init(tcp text: Substring) throws(URLComplaint) {
        var rest = text
        var user: String?
        var password: Secret?
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard credentials.count == 2, !credentials[1].isEmpty else {
                throw URLComplaint("has no password before its @; expected redis://[USER]:PASSWORD@HOST")
            }
            user = credentials[0].isEmpty ? nil : try percentDecoded(credentials[0], what: "user name")
            password = Secret(try percentDecoded(credentials[1], what: "password"))
            rest = rest[rest.index(after: at)...]
        }
        var database = 0
        if let slash = rest.firstIndex(of: "/") {
            let number = rest[rest.index(after: slash)...]
            if !number.isEmpty { database = try Self.database(number) }
            rest = rest[..<slash]
        }
        let hasPort = rest.hasSuffix("]") ? false : rest.contains(":")
        guard let place = ListenAddress(setting: hasPort ? String(rest) : "\(rest):6379"), place.port > 0 else {
            throw URLComplaint("has no HOST:PORT that is understood; expected redis://HOST:PORT")
        }
        self.init(address: .tcp(host: place.host, port: place.port), user: user, password: password, database: database)
    }

    private static func database(_ text: Substring) throws(URLComplaint) -> Int {
        guard let number = Int(text), (0...1_000_000).contains(number) else {
            throw URLComplaint("has the database \"\(String(text).oneLine(limit: 40))\"; expected its number")
        }
        return number
    }

    /// A URL without the password.
    var description: String {
        let credentials = password == nil ? "" : "\(user ?? ""):<redacted>@"
        switch address {
        case .tcp(let host, let port): return "redis://\(credentials)\(ListenAddress(host: host, port: port))/\(database)"
        case .unix(let path): return "unix://\(path)?db=\(database)"
        }
    }
}
