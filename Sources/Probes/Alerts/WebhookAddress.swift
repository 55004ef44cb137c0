import FoundationEssentials
import Glibc
import Vitals

/// Where a webhook is: `http[s]://[user[:password]@]host[:port][/path][?query]`, taken apart so that the HTTP client is given nothing it
/// would drop, misread or stop the process for.
struct WebhookAddress {
    /// For the client: no user, no password, no fragment, ASCII alone.
    let url: String
    /// `Basic …`, where a user is named (RFC 7617).
    let authorization: Secret?
    /// `host` or `host:port`, for people.
    let host: String

    /// Continues a sentence about the webhook; never quotes it.
    struct Complaint: Error, Hashable {
        var text: String
        init(_ text: String) { self.text = text }
    }

    init(_ text: String) throws(Complaint) {
        guard let (scheme, afterScheme) = Self.schemed(text) else { throw Complaint("does not begin with http:// or https://") }
        guard text.utf8.count <= 2_048 else { throw Complaint("is longer than 2048 bytes") }
        guard !text.unicodeScalars.contains(where: { $0.value <= 0x20 || (0x7F...0xA0).contains($0.value) }) else {
            throw Complaint("has a blank or a line end in it; write a blank as %20")
        }
        let authority = afterScheme.upTo(["/", "?", "#", "\\"])
        let rest = afterScheme[authority.endIndex...]
        guard !rest.unicodeScalars.contains("#") else {
            throw Complaint("has a #, and what stands behind it is never sent; leave it out, or write it as %23")
        }
        guard rest.unicodeScalars.first != "\\" else { throw Complaint("has a \\ after its host") }
        var place = authority
        if let (credentials, after) = authority.partedAtLast("@") {
            authorization = try Self.basic(credentials)
            place = after
        } else {
            authorization = nil
        }
        let (host, port) = try Self.hostAndPort(place)
        self.host = port.map { "\(host):\($0)" } ?? host
        // Without a path the client asks for "/"; in front of a query it has to be told.
        let path = Self.encoded(rest.unicodeScalars.first == "?" ? "/\(rest)" : String(rest))
        guard Self.escapesAreWhole(path) else {
            throw Complaint("has a % in its path or query that no two hexadecimal digits follow; write %25 for a %")
        }
        url = "\(scheme)://\(self.host)\(path)"
        // The client reads it once more, with this.
        guard let read = URL(string: url), read.host() != nil, read.port == port else {
            throw Complaint("is not an address like https://example.org/hook")
        }
        guard Self.target(of: read) == (path.isEmpty ? "/" : path) else {
            throw Complaint("has a path or a query that would arrive changed; write it percent-encoded, in UTF-8")
        }
    }

    private static func schemed(_ text: String) -> (scheme: String, rest: Substring)? {
        guard let (scheme, rest) = text[...].parted(at: ":"), rest.hasPrefix("//") else { return nil }
        let name = scheme.lowercased()
        return name == "http" || name == "https" ? (name, rest.dropFirst(2)) : nil
    }

    private static func basic(_ text: Substring) throws(Complaint) -> Secret? {
        let (name, secret) = text.parted(at: ":") ?? (text, "")
        let user = try decoded(name)
        let password = try decoded(secret)
        guard !user.isEmpty || !password.isEmpty else { return nil }
        guard !user.unicodeScalars.contains(":") else {
            throw Complaint("has a : in its user name, which HTTP cannot tell from the one before the password")
        }
        guard !(user + password).unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) else {
            throw Complaint("has a control character in its user name or password")
        }
        return Secret("Basic " + Data("\(user):\(password)".utf8).base64EncodedString())
    }

    private static func decoded(_ text: Substring) throws(Complaint) -> String {
        do {
            return try PercentEncoding.decoded(text)
        } catch {
            guard error != .notUTF8 else { throw Complaint("has a user name or password that is not UTF-8") }
            throw Complaint("has a % in its user name or password that no two hexadecimal digits follow; write %25 for a %")
        }
    }

    private static func hostAndPort(_ text: Substring) throws(Complaint) -> (String, Int?) {
        var (host, port) = text.parted(at: ":") ?? (text, "")
        if text.unicodeScalars.first == "[" {
            guard let (address, after) = text.dropFirst().parted(at: "]"), after.isEmpty || after.unicodeScalars.first == ":" else {
                throw Complaint("has an IPv6 address that is not [ADDRESS] or [ADDRESS]:PORT")
            }
            guard isIPv6(address) else { throw Complaint("has [ ] around what is no IPv6 address; one with a zone is not spoken to") }
            (host, port) = ("[\(address)]", after.dropFirst())
        } else {
            guard !host.isEmpty else { throw Complaint("names no host") }
            guard host.utf8.allSatisfy({ $0 < 0x80 }) else { throw Complaint("has a host with letters beyond ASCII; write it in its xn-- form") }
            let isName = host.utf8.count <= 253 && host.allSatisfy { $0.isLetter || $0.isNumber || "-._".contains($0) }
            guard isName else { throw Complaint("has a host that is neither a name nor an address") }
        }
        // As RFC 3986 has it, nothing after the colon is the same as no colon.
        if port.isEmpty { return (String(host), nil) }
        guard let number = portNumber(port) else {
            throw Complaint("has a port that is not a number from 1 to 65535; a / or an @ in a user name or password is written %2F or %40")
        }
        return (String(host), number)
    }

    private static func isIPv6(_ text: Substring) -> Bool {
        // As wide as an in6_addr, which two modules declare.
        var address = [UInt8](repeating: 0, count: 16)
        return inet_pton(AF_INET6, String(text), &address) == 1
    }

    /// Path and query as the client makes them of an address. What it does not understand it encodes once more, or leaves out.
    ///
    /// Source: AsyncHTTPClient, `uri` of `HTTPHandler.swift`.
    private static func target(of url: URL) -> String {
        let path = url.path.isEmpty ? "/" : URLComponents(url: url, resolvingAgainstBaseURL: true)?.percentEncodedPath ?? url.path
        return path + (url.query.map { "?\($0)" } ?? "")
    }

    private static func escapesAreWhole(_ text: String) -> Bool {
        text.utf8.split(separator: UInt8(ascii: "%"), omittingEmptySubsequences: false).dropFirst().allSatisfy { piece in
            piece.prefix(2).count == 2 && piece.prefix(2).allSatisfy { Character(Unicode.Scalar($0)).isHexDigit }
        }
    }

    /// What a request line cannot hold, as its bytes; brackets as well, which Foundation's URL takes for a reason to encode all else anew.
    private static func encoded(_ text: String) -> String {
        PercentEncoding.encoded(text) { byte in byte > 0x20 && byte < 0x7F && !"\"<>[]\\^`{|}".utf8.contains(byte) }
    }
}
