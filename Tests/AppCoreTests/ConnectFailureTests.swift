import TestServers
import Testing
import Vitals

@testable import AppCore

/// Whoever cannot connect is told why, on what and what to do, and the program knows it by SQLSTATE, whatever language the server speaks.
@Suite struct ConnectFailureTests {
    private static let hba = [
        "local all all trust",
        "host all secured 127.0.0.1/32 scram-sha-256",
        "host all unwelcome 127.0.0.1/32 reject",
        "host all app,limited,postgres,unknown 127.0.0.1/32 trust",
    ]

    private static let roles = """
        CREATE ROLE secured LOGIN PASSWORD 'right'; CREATE ROLE unwelcome LOGIN; CREATE ROLE unlisted LOGIN; CREATE ROLE limited LOGIN CONNECTION LIMIT 0;
        CREATE DATABASE tight CONNECTION LIMIT 0; CREATE DATABASE shut ALLOW_CONNECTIONS false;
        CREATE DATABASE private; REVOKE CONNECT ON DATABASE private FROM PUBLIC
        """

    /// One way not to get a connection.
    private struct Cause {
        var what: String
        var keywords: [String: String]
        var sqlState: String?
        var words: [String]

        init(_ what: String, _ keywords: [String: String], _ sqlState: String?, _ words: String...) {
            (self.what, self.keywords, self.sqlState, self.words) = (what, keywords, sqlState, words)
        }
    }

    private func expect(_ causes: [Cause], at place: [String: String]) async throws {
        for cause in causes {
            let keywords = place.merging(cause.keywords) { $1 }.filter { !$0.value.isEmpty }
            do {
                try await withConnection(PostgresEndpoint(keywords: keywords), within: .seconds(5)) { _ in }
                Issue.record("\(cause.what): connected")
            } catch let error as PostgresError {
                #expect(error.sqlState == cause.sqlState, "\(cause.what): \(error)")
                let isOnTCP = keywords["host"]?.hasPrefix("/") == false && cause.words.first != "cannot resolve"
                for word in cause.words + (isOnTCP ? (keywords["port"] ?? "").split(separator: ",").map { "port \($0)" } + ["127.0.0.1"] : []) {
                    #expect("\(error)".contains(word), "\(cause.what): no \"\(word)\" in: \(error)")
                }
                for word in ["LOCATION", ".c:", "  ", "\t", "swift", "Error("] {
                    #expect(!"\(error)".contains(word), "\(cause.what): \"\(word)\" in: \(error)")
                }
            }
        }
    }

    private func place(_ server: TestPostgres, user: String = "app") throws -> [String: String] {
        ["host": "127.0.0.1", "port": "\(try #require(server.tcpPort))", "user": user, "dbname": "app"]
    }

    @Test func `D15: what the server refuses is known by SQLSTATE and quoted`() async throws {
        let server = try await TestPostgres.start(tcp: true, hba: Self.hba)
        try await server.superuserScript(Self.roles)
        try await expect(
            [
                Cause("wrong password", ["user": "secured", "password": "wrong"], "28P01", "password authentication failed", "check the user and the password"),
                Cause("no such role", ["user": "unknown"], "28000", "role \"unknown\" does not exist", "check the user"),
                Cause("no such database", ["dbname": "nowhere"], "3D000", "database \"nowhere\" does not exist", "or create it"),
                Cause("no line in pg_hba.conf", ["user": "unlisted"], "28000", "no pg_hba.conf entry", "pg_hba.conf on the server"),
                Cause("rejected by pg_hba.conf", ["user": "unwelcome"], "28000", "rejects connection"),
                Cause("a role's limit", ["user": "limited"], "53300", "for role \"limited\"", "raise the limit"),
                Cause("a database's limit", ["dbname": "tight"], "53300", "for database \"tight\"", "raise the limit"),
                Cause("a database that takes nobody", ["dbname": "shut"], "55000", "not currently accepting connections", "ALLOW_CONNECTIONS"),
                Cause("no right to connect", ["dbname": "private"], "42501", "permission denied", "grant the role CONNECT"),
                Cause("a password nobody gave", ["user": "secured"], nil, "no password supplied", "PGPASSWORD"),
                Cause("no TLS", ["sslmode": "require"], nil, "does not support SSL", "sslmode=prefer"),
                Cause("the second of two", ["host": "127.0.0.1,127.0.0.1", "port": "1,\(try #require(server.tcpPort))", "user": "limited"], "53300", "refused", "for role"),
            ], at: place(server))
    }

    @Test func `D15: a server that is full is told from one that is down, in German too`() async throws {
        let server = try await TestPostgres.start(maxConnections: 5, tcp: true, hba: Self.hba, german: true)
        try await server.superuserScript(Self.roles)
        try await expect(
            [
                Cause("wrong password", ["user": "secured", "password": "wrong"], "28P01", "Passwort-Authentifizierung für Benutzer »secured«", "check the user"),
                Cause("no such role", ["user": "unknown"], "28000", "existiert nicht"),
                Cause("no such database", ["dbname": "nowhere"], "3D000", "Datenbank »nowhere« existiert nicht"),
                Cause("no line in pg_hba.conf", ["user": "unlisted"], "28000", "pg_hba.conf"),
                Cause("a role's limit", ["user": "limited"], "53300", "Rolle »limited«", "raise the limit"),
                Cause("a database's limit", ["dbname": "tight"], "53300", "Datenbank »tight«"),
                Cause("a database that takes nobody", ["dbname": "shut"], "55000", "»shut«"),
            ], at: place(server))
        // Five slots, three of them for superusers.
        try await withConnection(server.endpoint) { _ in
            try await withConnection(server.endpoint) { _ in
                try await expect([Cause("what is left is reserved", [:], "53300", "reserviert", "raise the limit")], at: place(server))
                let superuser = server.endpoint(["user": "postgres"])
                try await withConnection(superuser) { _ in
                    try await withConnection(superuser) { _ in
                        try await withConnection(superuser) { _ in
                            try await expect([Cause("nothing is left", ["user": "postgres"], "53300", "raise the limit")], at: place(server))
                        }
                    }
                }
            }
        }
    }

    @Test func `a certificate that is not trusted says so`() async throws {
        let server = try await TestPostgres.start(tls: true)
        let expired = try await TestPostgres.start(tls: true, certificate: "expired")
        let checked = ["host": "localhost", "sslmode": "verify-full"]
        try await expect(
            [
                Cause("signed by nobody known", checked.merging(["sslrootcert": "\(server.tlsFolder)/other.crt"]) { $1 }, nil, "certificate verify failed", "sslrootcert"),
                Cause("of another name", ["sslmode": "verify-full", "sslrootcert": "\(server.tlsFolder)/ca.crt"], nil, "does not match host name", "sslmode=verify-ca"),
                Cause("no such file", checked.merging(["sslrootcert": "/nowhere/ca.crt"]) { $1 }, nil, "/nowhere/ca.crt", "does not exist"),
            ], at: place(server))
        try await expect(
            [Cause("expired", checked.merging(["sslrootcert": "\(expired.tlsFolder)/ca.crt"]) { $1 }, nil, "certificate verify failed", "has expired")],
            at: place(expired))
    }

    @Test func `what is no server, or no PostgreSQL, is named with its address`() async throws {
        func at(_ server: FakeServer, _ more: [String: String] = ["sslmode": "disable"]) -> [String: String] { more.merging(["port": "\(server.port)"]) { $1 } }
        let starting = try FakeServer.postgres(refusing: "57P03", "the database system is starting up")
        let stopping = try FakeServer.postgres(refusing: "57P03", "the database system is shutting down")
        let stopped = try FakeServer.postgres(refusing: "57P01", "terminating connection due to administrator command")
        let pooler = try FakeServer.postgres(refusing: "08P01", "no such database: app")
        let resetting = try FakeServer(.resets)
        let closing = try FakeServer(.answers([]))
        let web = try FakeServer(answering: "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        try await expect(
            [
                Cause("starting up", at(starting), "57P03", "FATAL: the database system is starting up", "wait for it"),
                Cause("shutting down", at(stopping), "57P03", "the database system is shutting down", "wait for it"),
                Cause("shut down meanwhile", at(stopped), "57P01", "administrator command", "wait for it"),
                Cause("a pooler's own refusal", at(pooler), "08P01", "no such database: app"),
                Cause("first starting up, then refused", ["host": "127.0.0.1,127.0.0.1", "port": "\(starting.port),1", "sslmode": "disable"], "57P03", "starting up", "refused"),
                Cause("reset", at(resetting), nil, "closed the connection", "the server's log says why"),
                Cause("closed", at(closing), nil, "closed the connection", "is it a PostgreSQL"),
                Cause("HTTP", at(web), nil, "is it a PostgreSQL"),
                Cause("HTTP, asked for TLS", at(web, [:]), nil, "is it a PostgreSQL"),
                Cause("refused", ["port": "\(try unusedPort())"], nil, "Connection refused", "Is the server running"),
                Cause("no such name", ["host": "no-such-host.invalid"], nil, "cannot resolve", "\"no-such-host.invalid\"", "DNS"),
                Cause("no socket file", ["host": "/nowhere", "port": ""], nil, "/nowhere/.s.PGSQL.5432", "No such file", "Is the server running"),
            ], at: ["host": "127.0.0.1", "user": "app", "dbname": "app"])
    }

    @Test func `silence names who was asked, and for how long`() async throws {
        let silent = try FakeServer(.silent)
        let endpoint = PostgresEndpoint(keywords: ["host": "localhost", "port": "\(silent.port)", "hostaddr": "127.0.0.1", "user": "app"])
        do {
            try await withConnection(endpoint, within: .milliseconds(300)) { _ in }
            Issue.record("connected")
        } catch PostgresError.connectTimedOut(let server, let waited) {
            #expect(server == "localhost (127.0.0.1), port \(silent.port)")
            #expect(waited <= .milliseconds(300))
            #expect("\(PostgresError.connectTimedOut(server, after: waited))".contains("no answer within"))
        }
    }

    @Test(arguments: [
        ("connection to server at \"h\", port 1 failed: FATAL:  53300: sorry\nLOCATION:  a, b.c:1\n", "connection to server at \"h\", port 1 failed: FATAL: sorry; raise the limit that the server names, or let fewer connections be opened", "53300"),
        ("x failed: FATAL:  XX000: a:  12345: b\nDETAIL:  ABCDE: c\nLOCATION:  a\n", "x failed: FATAL: a: 12345: b; DETAIL: ABCDE: c", "XX000"),
        ("x failed: Connection refused\n\tIs the server running?\n", "x failed: Connection refused; Is the server running?", nil),
        ("a failed: FATAL:  57P03: not yet\nLOCATION:  f, p.c:1\nb failed: Connection refused\n", "a failed: FATAL: not yet; b failed: Connection refused; the server lets nobody in at the moment: wait for it, or look at its log", "57P03"),
        ("FATAL:  too old to have codes\n", "FATAL: too old to have codes", nil),
        ("\n", "libpq gave no reason", nil),
    ])
    func `libpq's report is read by its form`(report: String, text: String, sqlState: String?) {
        let failure = ConnectFailure(report: report)
        #expect(failure.text == text)
        #expect(failure.sqlState == sqlState)
    }
}
