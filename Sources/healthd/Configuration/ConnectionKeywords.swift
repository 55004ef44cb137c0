import AppCore
import Vitals

/// What libpq needs to connect, keyword by keyword, so that no secret is ever part of a command line or a URL that is logged.
///
/// Keywords as in the PostgreSQL manual, "Parameter Key Words". Printing shows everything but the secrets.
struct ConnectionKeywords: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
    /// Secrets included: for the one call that connects.
    var values: [String: String]

    init(_ values: [String: String]) {
        self.values = values
    }

    /// What libpq shows to nobody, and those of its keys that it does not mark so.
    static let secret = Set(LibpqOption.all.filter(\.isSecret).map(\.keyword))
        .union(["password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"])

    /// A keyword whose value is a secret, the password before any other; nil when none has one.
    var secretGiven: String? {
        let given = values.filter { Self.secret.contains($0.key) && !$0.value.isEmpty }.keys.sorted()
        return given.contains("password") ? "password" : given.first
    }

    /// Sorted `keyword=value` pairs with secrets redacted; also what the digest is made of.
    var description: String {
        values.sorted { $0.key < $1.key }
            .map { "\($0.key)=\(Self.secret.contains($0.key) ? "<redacted>" : $0.value)" }
            .joined(separator: " ")
    }

    var customMirror: Mirror { Mirror(reflecting: description) }

    /// For the pool, which keeps the password apart.
    var endpoint: PostgresEndpoint {
        PostgresEndpoint(keywords: values.filter { $0.key != "password" }, password: values["password"].map { Secret($0) })
    }
}

// MARK: - What libpq knows

extension ConnectionKeywords {
    /// The variables libpq reads, and the keyword each one stands for. The last is a keyword only for libpq 18 and for us.
    static let variables: [String: String] = LibpqOption.all.reduce(into: ["PGSERVICEFILE": "servicefile"]) { names, option in
        if let variable = option.variable { names[variable] = option.keyword }
    }

    /// Variables that say "there is a database here"; the others only refine one.
    static let naming: Set<String> = ["PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE", "PGUSER"]

    private static let known = Set(variables.values).union(LibpqOption.all.map(\.keyword))

    /// What came with which libpq, for a sentence where the library at hand is older.
    private static let since = [
        "sslcertmode": 16, "require_auth": 16, "load_balance_hosts": 16, "gssdelegation": 16, "sslnegotiation": 17, "sslkeylogfile": 18,
        "min_protocol_version": 18, "max_protocol_version": 18, "scram_client_key": 18, "scram_server_key": 18, "oauth_issuer": 18,
        "oauth_client_id": 18, "oauth_client_secret": 18, "oauth_scope": 18,
    ]

    static func isKnown(_ keyword: String) -> Bool { known.contains(keyword) }

    /// What to write instead of an unknown keyword, as the end of a sentence.
    static func hint(for keyword: String) -> String {
        if let version = since[keyword] { return "; \(keyword) came with libpq \(version), and this one is \(LibraryVersions.libpq)" }
        return nearestName(to: keyword, among: known).map { "; did you mean \($0)?" } ?? ""
    }
}

// MARK: - What is wrong with values

extension ConnectionKeywords {
    struct Complaint: Hashable {
        var keyword: String
        /// Continues a sentence; never quotes a secret, nor anything that may be a piece of one.
        var text: String
    }

    static let sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

    /// Keywords that take one of a few words. libpq says so when it connects; check-config is to say it before.
    private static let words: [String: [String]] = [
        "sslmode": sslModes,
        "target_session_attrs": ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"],
        "channel_binding": ["disable", "prefer", "require"],
        "gssencmode": ["disable", "prefer", "require"],
        "ssl_min_protocol_version": ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"],
        "ssl_max_protocol_version": ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"],
    ]

    private static let numbers = [
        "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "connect_timeout",
    ]

    /// With numbers as digits alone: libpq takes blanks around them and a `+`, and what is told of a server should look like one.
    var tidied: ConnectionKeywords {
        var tidied = self
        for keyword in Self.numbers {
            if let number = values[keyword].flatMap({ libpqNumber($0) }) { tidied.values[keyword] = "\(number)" }
        }
        tidied.values["port"] = values["port"].map { port in
            port[...].pieces(between: ",").map { piece in libpqNumber(piece).map { "\($0)" } ?? String(piece) }.joined(separator: ",")
        }
        return tidied
    }

    /// What is wrong with one of the values, or nil.
    func complaint() -> Complaint? {
        if let displaced = displacedAddress() { return displaced }
        if let port = values["port"], !port[...].pieces(between: ",").allSatisfy({ $0.isEmpty || libpqNumber($0).map { (1...65_535).contains($0) } == true }) {
            return Complaint(keyword: "port", text: "has a port that is not a number from 1 to 65535")
        }
        for (keyword, words) in Self.words.sorted(by: { $0.key < $1.key }) {
            guard let value = values[keyword] else { continue }
            // libpq takes nothing for no bound.
            if value.isEmpty, keyword.hasPrefix("ssl_") { continue }
            let isGood = words.contains { $0 == value || (keyword.hasPrefix("ssl_") && $0.lowercased() == value.lowercased()) }
            if !isGood {
                return Complaint(
                    keyword: keyword, text: "has \(keyword) \"\(value.oneLine(limit: 40))\"; expected one of \(words.joined(separator: ", "))")
            }
        }
        for keyword in Self.numbers {
            if let value = values[keyword], !value.isEmpty, libpqNumber(value) == nil {
                return Complaint(keyword: keyword, text: "has \(keyword) \"\(value.oneLine(limit: 40))\"; expected a whole number")
            }
        }
        if let value = values["replication"], !["", "0", "no", "off", "false"].contains(value.lowercased()) {
            return Complaint(keyword: "replication", text: "asks for a replication connection, which answers no queries; leave replication out")
        }
        return nil
    }

    /// A whole address in the place of a part of one: PGHOST=postgres://… would be looked up, and missed by its full text.
    private func displacedAddress() -> Complaint? {
        for (keyword, value) in values.sorted(by: { $0.key < $1.key }) {
            let isWordOrNumber = Self.words[keyword] != nil || Self.numbers.contains(keyword)
            // An @ begins an abstract socket, and may be in the name of a database.
            let isWholeAddress = ["host", "hostaddr", "dbname"].contains(keyword) && value.contains("://")
            guard isWordOrNumber || isWholeAddress, let kind = Quotation.kind(of: value) else { continue }
            return Complaint(keyword: keyword, text: "has \(kind), where \(keyword) is expected")
        }
        return nil
    }

    /// What does not fit together, once every place has been asked: libpq wants as many ports and numeric addresses as hosts, or one port for all.
    func misfit() -> Complaint? {
        func count(_ keyword: String) -> Int? {
            values[keyword].flatMap { $0.isEmpty ? nil : $0[...].pieces(between: ",").count }
        }
        let hosts = count("host") ?? count("hostaddr") ?? 1
        if let addresses = count("hostaddr"), addresses != hosts {
            return Complaint(keyword: "hostaddr", text: "has \(addresses) hostaddr for \(hosts) host; expected as many")
        }
        if let ports = count("port"), ports != 1, ports != hosts {
            return Complaint(keyword: "port", text: "has \(ports) ports for \(hosts) host\(hosts == 1 ? "" : "s"); expected as many, or one for all")
        }
        return nil
    }
}

/// A number as libpq reads it: blanks around it and a sign are allowed, 32 bits.
///
/// Source: parse_int_param of `fe-connect.c`.
func libpqNumber(_ text: some StringProtocol) -> Int32? { Int32(withoutBlanks(Substring(text))) }
