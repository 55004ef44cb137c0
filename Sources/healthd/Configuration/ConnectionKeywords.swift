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

    static let secret: Set<String> = ["password", "sslpassword"]

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

extension ConnectionKeywords {
    /// The variables libpq reads, and the keyword each one stands for. Source: PostgreSQL 15 manual, "Environment Variables".
    static let variables: [String: String] = [
        "PGHOST": "host", "PGHOSTADDR": "hostaddr", "PGPORT": "port", "PGDATABASE": "dbname", "PGUSER": "user",
        "PGPASSWORD": "password", "PGPASSFILE": "passfile", "PGSERVICE": "service", "PGSERVICEFILE": "servicefile",
        "PGOPTIONS": "options", "PGAPPNAME": "application_name", "PGSSLMODE": "sslmode", "PGSSLCERT": "sslcert",
        "PGSSLKEY": "sslkey", "PGSSLROOTCERT": "sslrootcert", "PGSSLCRL": "sslcrl", "PGSSLCRLDIR": "sslcrldir",
        "PGSSLSNI": "sslsni", "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
        "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version", "PGGSSENCMODE": "gssencmode", "PGKRBSRVNAME": "krbsrvname",
        "PGTARGETSESSIONATTRS": "target_session_attrs", "PGCHANNELBINDING": "channel_binding",
        "PGCLIENTENCODING": "client_encoding", "PGREQUIREPEER": "requirepeer",
    ]

    /// Variables that say "there is a database here"; the others only refine one.
    static let naming: Set<String> = ["PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE", "PGUSER"]

    /// Every keyword a URL may carry as a parameter. The connect timeout is not among them: the pool has its own, `database.pool.connect`.
    static let parameters: Set<String> = Set(variables.values).union([
        "sslpassword", "sslcompression", "fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval",
        "keepalives_count", "tcp_user_timeout",
    ])

    static let sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

    /// What is wrong with the values themselves, or nil; never quotes a secret.
    func complaint() -> String? {
        if let port = values["port"] {
            let isGood = port.split(separator: ",", omittingEmptySubsequences: false)
                .allSatisfy { $0.isEmpty || Int($0).map { (1...65_535).contains($0) } == true }
            if !isGood { return "has the port \"\(port)\"; expected a number from 1 to 65535" }
        }
        if let mode = values["sslmode"], !Self.sslModes.contains(mode) {
            return "has sslmode \"\(mode)\"; expected one of \(Self.sslModes.joined(separator: ", "))"
        }
        return nil
    }
}
