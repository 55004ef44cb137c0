public import Vitals

/// Where Redis is and how to sign in.
public struct RedisEndpoint: Sendable, Hashable, CustomStringConvertible {
    public enum Address: Sendable, Hashable {
        case tcp(host: String, port: Int)
        case unix(path: String)
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
        let credentials = password == nil ? "" : "\(user ?? ""):<redacted>@"
        switch address {
        case .tcp(let host, let port): return "redis://\(credentials)\(host.contains(":") ? "[\(host)]" : host):\(port)/\(database)"
        case .unix(let path): return "unix://\(path)?db=\(database)"
        }
    }
}

extension RedisEndpoint {
    /// Why a text is not the address of a Redis. Never quotes the text: it may hold a password.
    public struct InvalidURL: Error, Sendable, Hashable, CustomStringConvertible {
        public let reason: String
        public var description: String { "\(reason); expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH" }
    }

    /// Reads `redis://[[user]:password@]host[:port][/database]` or `unix://[[user]:password@]/path[?db=n]`; the port is 6379 when absent.
    ///
    /// User and password may be percent-encoded.
    public init(url: String) throws(InvalidURL) {
        let schemes = ["redis://", "unix://"]
        if url.hasPrefix("rediss://") { throw InvalidURL(reason: "TLS (rediss://) is not supported") }
        guard let scheme = schemes.first(where: { url.hasPrefix($0) }) else { throw InvalidURL(reason: "the scheme is neither redis nor unix") }
        var rest = url.dropFirst(scheme.count)
        var user: String?
        var password: Secret?
        // The last one: a password may hold an @ that somebody forgot to encode.
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at]
            rest = rest[rest.index(after: at)...]
            let parts = credentials.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let name = Self.decoded(parts[0]), let secret = Self.decoded(parts[1]), !secret.isEmpty else {
                throw InvalidURL(reason: "the part before @ is not [USER]:PASSWORD")
            }
            user = name.isEmpty ? nil : name
            password = Secret(secret)
        }
        if scheme == "unix://" {
            let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
            guard let path = parts.first, path.hasPrefix("/"), path.count > 1 else { throw InvalidURL(reason: "the socket's path is not absolute") }
            // sun_path of sockaddr_un, less its terminating zero.
            guard path.utf8.count <= 107 else { throw InvalidURL(reason: "the socket's path has \(path.utf8.count) bytes, the system's limit is 107") }
            let query = parts.count > 1 ? parts[1] : "db=0"
            guard query.hasPrefix("db="), let database = Self.database(query.dropFirst(3)) else { throw InvalidURL(reason: "the query is not db=NUMBER") }
            self.init(address: .unix(path: String(path)), user: user, password: password, database: database)
        } else {
            let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let (host, port) = Self.hostAndPort(parts[0]) else { throw InvalidURL(reason: "host and port are not HOST[:PORT]") }
            guard let database = Self.database(parts.count > 1 ? parts[1] : "") else { throw InvalidURL(reason: "the database is not a number") }
            self.init(address: .tcp(host: host, port: port), user: user, password: password, database: database)
        }
    }

    private static func database(_ text: Substring) -> Int? {
        guard !text.isEmpty else { return 0 }
        return Int(text).flatMap { (0...9_999).contains($0) ? $0 : nil }
    }

    private static func hostAndPort(_ text: Substring) -> (String, Int)? {
        var host = text
        var port = Substring("6379")
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            let after = text[text.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else { return nil }
            if !after.isEmpty { port = after.dropFirst() }
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
            guard !host.contains(":") else { return nil }
        }
        guard !host.isEmpty, let number = Int(port), (1...65_535).contains(number) else { return nil }
        return (String(host), number)
    }

    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Substring(text).utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(Substring(rest.prefix(2))), radix: 16) else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
