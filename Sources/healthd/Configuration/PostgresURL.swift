import Vitals

/// Reads `postgres://[user[:password]@][host[:port],…][/database][?keyword=value&…]`.
///
/// Source: PostgreSQL 15 manual, "Connection URIs". Done here and not by libpq so that a fault can be told without echoing the URL.
struct PostgresURL {
    let keywords: ConnectionKeywords

    /// - Throws: a sentence that continues "database.url …" and never quotes what may be secret.
    init(_ text: String) throws(URLComplaint) {
        guard let scheme = ["postgres://", "postgresql://"].first(where: { text.hasPrefix($0) }) else {
            throw URLComplaint("is not understood; expected postgres://USER@HOST:PORT/DATABASE")
        }
        var values: [String: String] = [:]
        var rest = text.dropFirst(scheme.count)
        if let question = rest.firstIndex(of: "?") {
            try Self.readParameters(rest[rest.index(after: question)...], into: &values)
            rest = rest[..<question]
        }
        if let slash = rest.firstIndex(of: "/") {
            let name = try percentDecoded(rest[rest.index(after: slash)...], what: "database name")
            if !name.isEmpty { values["dbname"] = name }
            rest = rest[..<slash]
        }
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let user = try percentDecoded(credentials[0], what: "user name")
            if !user.isEmpty { values["user"] = user }
            if credentials.count == 2 {
                guard !credentials[1].isEmpty else { throw URLComplaint("has an empty password; leave the colon out, or give one") }
                values["password"] = try percentDecoded(credentials[1], what: "password")
            }
            rest = rest[rest.index(after: at)...]
        }
        try Self.readHosts(rest, into: &values)
        keywords = ConnectionKeywords(values)
        if let complaint = keywords.complaint() { throw URLComplaint(complaint) }
    }

    private static func readHosts(_ text: Substring, into values: inout [String: String]) throws(URLComplaint) {
        guard !text.isEmpty else { return }
        var hosts: [String] = []
        var ports: [String] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            var host = part
            var port: Substring = ""
            if part.hasPrefix("[") {
                guard let close = part.firstIndex(of: "]") else {
                    throw URLComplaint("has an IPv6 address without its closing bracket")
                }
                host = part[part.index(after: part.startIndex)..<close]
                let after = part[part.index(after: close)...]
                guard after.isEmpty || after.hasPrefix(":") else {
                    throw URLComplaint("has something other than :PORT after its IPv6 address")
                }
                port = after.dropFirst()
            } else if let colon = part.lastIndex(of: ":") {
                host = part[..<colon]
                port = part[part.index(after: colon)...]
            }
            hosts.append(try percentDecoded(host, what: "host"))
            ports.append(String(port))
        }
        if hosts.contains(where: { !$0.isEmpty }) { values["host"] = hosts.joined(separator: ",") }
        if ports.contains(where: { !$0.isEmpty }) { values["port"] = ports.joined(separator: ",") }
    }

    private static func readParameters(_ text: Substring, into values: inout [String: String]) throws(URLComplaint) {
        for pair in text.split(separator: "&") {
            guard let equals = pair.firstIndex(of: "=") else { throw URLComplaint("has a parameter without a value") }
            var keyword = try percentDecoded(pair[..<equals], what: "parameter name")
            let value = try percentDecoded(pair[pair.index(after: equals)...], what: "value of \(keyword)")
            // As libpq does for URLs written for JDBC.
            if keyword == "ssl", value == "true" { (keyword, values["sslmode"]) = ("", "require") }
            guard !keyword.isEmpty else { continue }
            guard ConnectionKeywords.parameters.contains(keyword) else {
                let hint = nearestName(to: keyword, among: ConnectionKeywords.parameters).map { "; did you mean \($0)?" } ?? ""
                throw URLComplaint("has the unknown parameter \"\(keyword.oneLine(limit: 40))\"\(hint)")
            }
            values[keyword] = value
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
    var bytes: [UInt8] = []
    var rest = Substring(text).utf8
    while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "%") else {
            bytes.append(byte)
            continue
        }
        let digits = rest.prefix(2)
        guard digits.count == 2, let value = UInt8(String(Substring(digits)), radix: 16), value != 0 else {
            throw URLComplaint("has a % in its \(what) that no two hexadecimal digits follow; write %25 for a %")
        }
        bytes.append(value)
        rest = rest.dropFirst(2)
    }
    guard let decoded = String(validating: bytes, as: UTF8.self) else { throw URLComplaint("has a \(what) that is not UTF-8") }
    return decoded
}
