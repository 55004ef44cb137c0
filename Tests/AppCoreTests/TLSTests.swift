import TestServers
import Testing
import Vitals

@testable import AppCore

/// libpq's own TLS, through our way to the server: the name is for the certificate, the address is ours.
@Suite("TLS")
struct TLSTests {
    private func endpoint(_ server: TestPostgres, _ keywords: [String: String]) throws -> PostgresEndpoint {
        let tcp = ["host": "localhost", "port": "\(try #require(server.tcpPort))"]
        var endpoint = server.endpoint(tcp.merging(keywords) { $1 })
        endpoint.password = Secret("hunter2")
        return endpoint
    }

    private func version(_ connection: PostgresConnection) async throws -> String? {
        let rows = try await connection.query(
            "SELECT ssl::text || ' ' || version AS tls FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            until: Deadline(.now() + .seconds(5)))
        return try rows.first?.optionalString("tls")
    }

    @Test func `sslmode and its files are libpq's, and honoured`() async throws {
        let server = try await TestPostgres.start(tls: true)
        let right = ["sslmode": "verify-full", "sslrootcert": "\(server.tlsFolder)/ca.crt"]
        for keywords in [
            right, ["sslmode": "require"],
            ["sslmode": "verify-ca", "sslrootcert": "\(server.tlsFolder)/ca.crt", "host": "127.0.0.1"],
        ] {
            let tls = try await withConnection(endpoint(server, keywords)) { try await version($0) }
            #expect(tls == "true TLSv1.3", "\(keywords)")
        }
        let plain = try await withConnection(endpoint(server, ["sslmode": "disable"])) { try await version($0) }
        #expect(plain == nil)

        // The role that may come only with a certificate.
        let certificate = [
            "user": "certified", "sslcert": "\(server.tlsFolder)/client.crt", "sslkey": "\(server.tlsFolder)/client.key",
        ]
        let who = try await withConnection(endpoint(server, right.merging(certificate) { $1 })) { connection in
            try await connection.query("SELECT current_user AS who", until: Deadline(.now() + .seconds(5))).first?.string("who")
        }
        #expect(who == "certified")

        let refusals: [(keywords: [String: String], words: String)] = [
            (["sslmode": "verify-full", "sslrootcert": "\(server.tlsFolder)/other.crt"], "certificate verify failed"),
            (right.merging(["host": "127.0.0.1"]) { $1 }, "does not match host name \"127.0.0.1\""),
            (right.merging(["sslrootcert": "\(server.tlsFolder)/missing.crt"]) { $1 }, "missing.crt\" does not exist"),
            (right.merging(["user": "certified"]) { $1 }, "connection requires a valid client certificate"),
        ]
        for (keywords, words) in refusals {
            do {
                try await withConnection(endpoint(server, keywords)) { _ in }
                Issue.record("connected with \(keywords)")
            } catch let error as PostgresError {
                let text = "\(error)"
                #expect(text.contains(words) && !text.contains("hunter2"))
                #expect(error.sqlState != "3D000", "a missing file is no missing database")
            }
        }
    }
}
