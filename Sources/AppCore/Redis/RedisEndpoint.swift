public import Vitals

/// Where Redis is and how to sign in.
public struct RedisEndpoint: Sendable, Hashable, CustomStringConvertible {
    public enum Address: Sendable, Hashable {
        case tcp(host: String, port: Int)
        case unix(path: String)

        /// As it stands in a URL.
        var text: String {
            switch self {
            case .tcp(let host, let port): "\(host.contains(":") ? "[\(host)]" : host):\(port)"
            case .unix(let path): path
            }
        }
    }

    public var address: Address
    public var user: String?
    public var password: Secret?
    public var database: Int

    public init(address: Address, user: String? = nil, password: Secret? = nil, database: Int = 0) {
        self.address = address
        self.user = user
        self.password = password
        self.database = database
    }

    /// A URL without the password.
    public var description: String {
        let credentials = (user ?? "") + (password == nil ? "" : ":<redacted>")
        let prefix = credentials.isEmpty ? "" : "\(credentials)@"
        switch address {
        case .tcp: return "redis://\(prefix)\(address.text)/\(database)"
        case .unix: return "unix://\(prefix)\(address.text)?db=\(database)"
        }
    }
}

extension RedisEndpoint {
    /// Why a text is not the address of a Redis. Never quotes the text: it may hold a password.
    public struct InvalidURL: Error, Sendable, Hashable, CustomStringConvertible {
        public let reason: String
        public var description: String { "\(reason); expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH" }
    }

    private static let networkSchemes = ["redis://", "valkey://"]
    private static let socketSchemes = ["unix://", "redis+unix://", "redis+socket://", "redis-socket://"]

    /// Reads `redis://[[user][:password]@]host[:port][/database]` or `unix://[[user][:password]@]/path`, either with `?db=number`; the port
    /// is 6379 when absent. All parts may be percent-encoded.
    ///
    /// A user without a password is one whose password comes from elsewhere; `user:@` says that it has none.
    public init(url: String) throws(InvalidURL) {
        for scheme in ["rediss://", "valkeys://", "redis+tls://"] where url.hasPrefix(scheme) {
            throw InvalidURL(reason: "TLS (\(scheme)) is not spoken to Redis; name a TLS tunnel on this machine, or a Redis in a network you trust")
        }
        for word in ["sentinel", "cluster"] where url[...].upTo([":"]).contains(word) {
            throw InvalidURL(reason: "Redis \(word == "cluster" ? "Cluster" : "Sentinel") is not spoken; name one server")
        }
        let isSocket = Self.socketSchemes.contains { url.hasPrefix($0) }
        guard let scheme = (Self.networkSchemes + Self.socketSchemes).first(where: { url.hasPrefix($0) }) else {
            throw InvalidURL(reason: "the scheme is neither redis nor unix")
        }
        var rest = url.dropFirst(scheme.count)
        var user: String?
        var password: Secret?
        // The last one: a password may hold an @ or a / that somebody forgot to encode. A socket's path begins with its first /.
        let authority = isSocket ? rest.upTo(["/"]) : rest
        if let (credentials, _) = authority.partedAtLast("@") {
            let after = rest[rest.unicodeScalars.index(after: credentials.endIndex)...]
            rest = after
            let (name, secret) = credentials.parted(at: ":") ?? (credentials, "")
            user = try Self.decoded(name, "the user's name")
            if user?.isEmpty == true { user = nil }
            if !secret.isEmpty || (user != nil && name.endIndex != credentials.endIndex) {
                password = Secret(try Self.decoded(secret, "the password"))
            }
        }
        let place = rest.upTo(["?"])
        let parameter = try Self.database(parameters: rest[place.endIndex...].dropFirst())
        if isSocket {
            let path = try Self.decoded(place, "the socket's path")
            guard path.utf8.count > 1, path.hasPrefix("/") else { throw InvalidURL(reason: "the socket's path is not absolute") }
            // sun_path of sockaddr_un, less its terminating zero.
            guard path.utf8.count <= 107 else {
                throw InvalidURL(reason: "the socket's path has \(path.utf8.count) bytes, the system's limit is 107")
            }
            self.init(address: .unix(path: path), user: user, password: password, database: parameter ?? 0)
        } else {
            let (server, path) = place.parted(at: "/") ?? (place, "")
            let (host, port) = try Self.hostAndPort(server)
            let number = path.isEmpty ? nil : try Self.database(path)
            if let number, let parameter, number != parameter { throw InvalidURL(reason: "the path and db= name different databases") }
            self.init(address: .tcp(host: host, port: port), user: user, password: password, database: number ?? parameter ?? 0)
        }
    }

    private static func database(_ text: Substring) throws(InvalidURL) -> Int {
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let number = Int(text), number <= 9_999 else {
            throw InvalidURL(reason: "the database is not a number from 0 to 9999")
        }
        return number
    }

    private static func database(parameters: Substring) throws(InvalidURL) -> Int? {
        var database: Int?
        for pair in parameters.pieces(between: "&") where !pair.isEmpty {
            guard let (name, value) = pair.parted(at: "="), name == "db" || name == "database" else {
                throw InvalidURL(reason: "it has a parameter other than db=NUMBER")
            }
            database = try Self.database(value)
        }
        return database
    }

    private static func hostAndPort(_ text: Substring) throws(InvalidURL) -> (String, Int) {
        var (host, port) = text.partedAtLast(":") ?? (text, "")
        if text.unicodeScalars.first == "[" {
            guard let (address, after) = text.dropFirst().parted(at: "]"), after.isEmpty || after.unicodeScalars.first == ":" else {
                throw InvalidURL(reason: "the IPv6 address is not [ADDRESS] or [ADDRESS]:PORT")
            }
            (host, port) = (address, after.dropFirst())
        } else if host.unicodeScalars.contains(":") {
            throw InvalidURL(reason: "host and port are not HOST[:PORT]; an IPv6 address stands in [ ]")
        }
        guard !host.isEmpty else { throw InvalidURL(reason: "it names no host") }
        // As in any URL, a colon without a port is no port.
        guard let number = port.isEmpty ? 6379 : portNumber(port) else { throw InvalidURL(reason: "the port is not a number from 1 to 65535") }
        return (try decoded(host, "the host"), number)
    }

    private static func decoded(_ text: Substring, _ what: String) throws(InvalidURL) -> String {
        do {
            return try PercentEncoding.decoded(text)
        } catch {
            throw InvalidURL(reason: error == .notUTF8 ? "\(what) is not UTF-8" : "\(what) has a % that no two hexadecimal digits follow")
        }
    }
}
