import AppCore
import Vitals

/// Reads `postgres://[user[:password]@][host[:port],…][/database][?keyword=value&…]`.
///
/// Source: PostgreSQL 15 manual, "Connection URIs", and conninfo_uri_parse of `fe-connect.c`. Done here and not by libpq, whose complaints
/// quote the URL: where a `/` or an `@` of a password was not encoded, what stands in the host's place is a piece of the password.
struct PostgresURL {
    let keywords: ConnectionKeywords

    static let schemes = ["postgres://", "postgresql://"]

    /// - Throws: a sentence that continues "database.url …" and never quotes what may be secret.
    init(_ text: String) throws(URLComplaint) {
        guard let scheme = Self.schemes.first(where: { text.hasPrefix($0) }) else {
            throw URLComplaint("is not understood; expected postgres://USER@HOST:PORT/DATABASE")
        }
        var values: [String: String] = [:]
        var rest = text.dropFirst(scheme.count)
        if let (credentials, after) = try Self.credentials(rest) {
            let (user, password) = credentials.parted(at: ":") ?? (credentials, "")
            values["user"] = try percentDecoded(user, what: "user name")
            values["password"] = try percentDecoded(password, what: "password")
            rest = after
            guard password.isEmpty || after.unicodeScalars.first != "@" else {
                throw URLComplaint("has @@ before its host; write an @ in the password as %40, and that of an abstract socket as well")
            }
        }
        let hosts = rest.upTo(["/", "?"])
        rest = rest[hosts.endIndex...]
        let path = rest.upTo(["?"])
        guard !path.unicodeScalars.contains("@") else {
            throw URLComplaint(
                "has an @ after a /; write a / in the user name or the password as %2F, and an @ in the name of the database as %40")
        }
        try Self.readHosts(hosts, into: &values)
        values["dbname"] = try percentDecoded(path.dropFirst(), what: "database name")
        // As for libpq, nothing between the separators is the same as no separator.
        values = values.filter { !$0.value.isEmpty }
        try Self.readParameters(rest[path.endIndex...].dropFirst(), into: &values)
        keywords = ConnectionKeywords(values)
        if let complaint = keywords.complaint() { throw URLComplaint(complaint.text) }
    }

    /// The first `@` before any `/` ends the credentials, as for libpq. Where that leaves an `@` inside a host's name, libpq could only fail,
    /// and the password has an `@` that nobody encoded: then the last one counts. An `@` that begins a host begins an abstract socket.
    private static func credentials(_ text: Substring) throws(URLComplaint) -> (Substring, Substring)? {
        guard let (_, hosts) = text.upTo(["/"]).parted(at: "@") else { return nil }
        let isInside = hosts.upTo(["?"]).pieces(between: ",").contains { $0.unicodeScalars.dropFirst().contains("@") }
        guard isInside, let (more, _) = hosts.upTo(["?"]).partedAtLast("@") else { return text.parted(at: "@") }
        guard !more.unicodeScalars.contains(",") else {
            throw URLComplaint("has a user after a comma; name one user, before the first host, or write a comma in the password as %2C")
        }
        return (text[..<more.endIndex], text[text.unicodeScalars.index(after: more.endIndex)...])
    }

    private static func readHosts(_ text: Substring, into values: inout [String: String]) throws(URLComplaint) {
        var hosts: [String] = []
        var ports: [String] = []
        for part in text.pieces(between: ",") {
            var (host, port) = part.parted(at: ":") ?? (part, "")
            if part.unicodeScalars.first == "[" {
                guard let (address, after) = part.dropFirst().parted(at: "]") else {
                    throw URLComplaint("has an IPv6 address without its closing bracket")
                }
                guard !address.isEmpty else { throw URLComplaint("has an empty IPv6 address") }
                guard after.isEmpty || after.unicodeScalars.first == ":" else {
                    throw URLComplaint("has something other than :PORT after its IPv6 address")
                }
                (host, port) = (address, after.dropFirst())
            }
            hosts.append(try percentDecoded(host, what: "host"))
            ports.append(try percentDecoded(port, what: "port"))
        }
        // A list without a name in it is no list: libpq's own socket is meant.
        if hosts.count > 1 || hosts != [""] { values["host"] = hosts.joined(separator: ",") }
        if ports.contains(where: { !$0.isEmpty }) { values["port"] = ports.joined(separator: ",") }
    }

    private static func readParameters(_ query: Substring, into values: inout [String: String]) throws(URLComplaint) {
        for pair in query.pieces(between: "&") where !pair.isEmpty {
            guard let (name, text) = pair.parted(at: "=") else { throw URLComplaint("has a parameter without a value") }
            let keyword = try percentDecoded(name, what: "parameter name")
            // As libpq does for URLs written for JDBC, and for its own of long ago.
            if keyword == "ssl", text == "true" {
                values["sslmode"] = "require"
            } else if keyword == "requiressl" {
                values["sslmode"] = text == "1" ? "require" : "prefer"
            } else if ConnectionKeywords.isKnown(keyword) {
                values[keyword] = try percentDecoded(text, what: "value of \(keyword)")
            } else {
                // With an @ in it, it may be a piece of a password.
                let quoted = query.unicodeScalars.contains("@") ? "an unknown parameter" : "the unknown parameter \"\(keyword.oneLine(limit: 40))\""
                throw URLComplaint("has \(quoted)\(ConnectionKeywords.hint(for: keyword))")
            }
        }
    }
}

/// Why a URL was refused; continues a sentence that begins with the setting's key.
struct URLComplaint: Error, Hashable {
    var text: String
    init(_ text: String) { self.text = text }
}

/// - Parameter what: the part of the URL, for the complaint.
func percentDecoded(_ text: some StringProtocol, what: String) throws(URLComplaint) -> String {
    do {
        return try PercentEncoding.decoded(text)
    } catch {
        switch error {
        case .notHexadecimal, .zero:
            throw URLComplaint("has a % in its \(what) that no two hexadecimal digits follow; write %25 for a %")
        case .notUTF8: throw URLComplaint("has a \(what) that is not UTF-8")
        }
    }
}
