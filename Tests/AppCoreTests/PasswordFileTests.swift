import FoundationEssentials
import Glibc
import TestServers
import Testing
import Vitals

@testable import AppCore

/// libpq's password file, looked at before libpq does.
@Suite struct `A password file` {
    private func withFolder(_ body: (String) async throws -> Void) async throws {
        var template = Array("/tmp/healthd-passfile-XXXXXX".utf8CString)
        let folder = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    private func file(_ path: String, _ text: String = "*:*:*:*:secret\n", mode: mode_t = 0o600) throws -> PasswordFile {
        try Data(text.utf8).write(to: URL(filePath: path))
        chmod(path, mode)
        return try #require(PasswordFile(of: PostgresEndpoint(keywords: ["passfile": path])))
    }

    @Test(arguments: [0o600, 0o400, 0o700] as [mode_t]) func `for its owner alone is libpq's to read`(mode: mode_t) async throws {
        try await withFolder { folder in
            let file = try file("\(folder)/pass", mode: mode)
            #expect(file.refusal == nil && file.keyword == file.path)
        }
    }

    @Test(arguments: [0o644, 0o640, 0o604, 0o620, 0o601] as [mode_t])
    func `that others may open is kept from libpq, which would write to standard error`(mode: mode_t) async throws {
        try await withFolder { folder in
            let file = try file("\(folder)/pass", mode: mode)
            #expect(file.refusal == "others than its owner may open it; chmod 600 it")
            #expect(file.keyword == "/dev/null/none")
        }
    }

    @Test func `that is no file is kept from libpq, and one that is missing is not`() async throws {
        try await withFolder { folder in
            mkfifo("\(folder)/pipe", 0o600)
            symlink("none", "\(folder)/dangling")
            let refusals = ["pipe", "", "none", "dangling"].map { PasswordFile(of: PostgresEndpoint(keywords: ["passfile": "\(folder)/\($0)"]))?.refusal }
            #expect(refusals == ["it is a pipe, a socket or a device; name a file", "it is a folder; name the file in it", nil, nil])
            #expect(PasswordFile(of: PostgresEndpoint(keywords: ["passfile": "/dev/null"]))?.refusal != nil)
            #expect(PasswordFile(of: PostgresEndpoint(keywords: ["passfile": folder], password: Secret("x"))) == nil)
        }
    }

    @Test func `says why there is no password`() async throws {
        try await withFolder { folder in
            let open = try file("\(folder)/open", mode: 0o644)
            #expect(open.whyNoPassword == "the password file \(folder)/open is not read: others than its owner may open it; chmod 600 it")
            let marked = try file("\(folder)/marked", "\u{FEFF}*:*:*:*:secret\n")
            #expect(
                marked.whyNoPassword
                    == "the password file \(folder)/marked begins with a byte order mark, which libpq takes for a piece of the first host; save it without")
            let other = try file("\(folder)/other")
            #expect(other.whyNoPassword == "the password file \(folder)/other has no line for this host, port, database and user")
            let missing = PasswordFile(of: PostgresEndpoint(keywords: ["passfile": "\(folder)/none"]))
            #expect(missing?.whyNoPassword == "the password file \(folder)/none does not exist")
        }
    }

    @Test func `that is refused is named where the server wants a password, and libpq says nothing itself`() async throws {
        let server = try await TestPostgres.start(tcp: true)
        try await server.superuserScript("ALTER ROLE app PASSWORD 'secret'", database: "postgres")
        let rules = "('local all all trust'), ('host all all all scram-sha-256')"
        try await server.superuserScript("COPY (VALUES \(rules)) TO '\(server.socketDirectory)/data/pg_hba.conf'", database: "postgres")
        try await server.stop()
        try await server.startAgain()
        try await withFolder { folder in
            let file = try file("\(folder)/pass", mode: 0o644)
            let endpoint = server.endpoint(["host": "127.0.0.1", "port": "\(try #require(server.tcpPort))", "passfile": file.path])
            await #expect { try await withConnection(endpoint) { _ in } } throws: {
                "\($0)".contains("the password file \(folder)/pass is not read: others than its owner may open it; chmod 600 it")
            }
            chmod(file.path, 0o600)
            try await withConnection(endpoint) { _ in }
        }
    }
}
