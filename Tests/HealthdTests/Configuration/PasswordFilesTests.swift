import AppCore
import Testing
import Vitals

@testable import healthd

/// Which server a `password-file` of healthd's own file is for: `/f`, with `file` in it.
@Suite struct `A password's file` {
    private static let beside = ("{ url: postgres://app@production/app, password-file: /f }", "{ url: redis://production, password-file: /f }")
    private static let alone = ("{ password-file: /f }", "{ password-file: /f }")

    @Test(
        arguments: [
            // Beside an address in the file: that one's.
            (beside, [:], "file"), (beside, ["URL": "own"], "own"), (beside, ["URL": ""], nil), (beside, ["HEALTHD_URL": ""], nil),
            // Named in the environment: newer than either.
            (beside, ["URL": "", "FILE": "/e"], "environment"), (beside, ["FILE": "/e"], "environment"),
            (("{}", "{}"), ["URL": "own", "FILE": "/e"], "environment"),
            // Alone: for an address from elsewhere, unless that one brings its own.
            (alone, ["URL": ""], "file"), (alone, ["URL": "own"], "own"), (("{ url: , password-file: /f }", "{ url: , password-file: /f }"), ["HEALTHD_URL": ""], "file"),
        ] as [((String, String), [String: String], String?)])
    func `is for the address beside it: no server of the environment is sent the password of another in the file`(
        sections: (String, String), set: [String: String], expected: String?
    ) throws {
        func url(_ scheme: String, _ password: String) -> String { "\(scheme)://\(password.isEmpty ? "" : ":\(password)@")staging" }
        var environment: [String: String] = [:]
        if let password = set["URL"] { (environment["DATABASE_URL"], environment["REDIS_URL"]) = (url("postgres", password), url("redis", password)) }
        if let password = set["HEALTHD_URL"] {
            (environment["HEALTHD_DATABASE_URL"], environment["HEALTHD_CACHE_URL"]) = (url("postgres", password), url("redis", password))
        }
        if let file = set["FILE"] { (environment["HEALTHD_DATABASE_PASSWORD_FILE"], environment["HEALTHD_CACHE_PASSWORD_FILE"]) = (file, file) }
        let yaml = "database: \(sections.0)\ncache: \(sections.1)"
        var files: [String: FileText] = ["/e": .text("environment"), "/f": .text("file")]
        let configuration = try decode(yaml, environment, files: files, database: false)
        guard case .external(let keywords) = configuration.database, case .redis(let endpoint) = configuration.cache.choice else {
            return #expect(Bool(false), "expected both servers")
        }
        #expect(keywords.values["password"] == expected && endpoint.password?.reveal() == expected)
        // What is not used is not read.
        files["/f"] = .unreadable(reason: "Permission denied")
        #expect(problems(yaml, environment, files: files, database: false).count == (expected == "file" ? 2 : 0))
    }

    @Test(arguments: [["PGHOST": "staging"], ["DATABASE_URL": "postgres://app@staging/app"]])
    func `gives way to PGPASSWORD, which is of the server that the environment names`(named: [String: String]) throws {
        for (variables, expected) in [(named, "file"), (named.merging(["PGPASSWORD": "own"]) { $1 }, "own")] {
            let configuration = try decode("database: { password-file: /f }", variables, files: ["/f": .text("file")], database: false)
            guard case .external(let keywords) = configuration.database else { return #expect(Bool(false), "expected a server") }
            #expect(keywords.values["password"] == expected)
        }
    }

    @Test func `of another Redis is not that of a user in the environment`() {
        let found = problems("cache: { url: redis://production, password-file: /f }", ["REDIS_URL": "redis://u@staging"], files: ["/f": .text("x")])
        #expect(found.count == 1 && found[0].hasPrefix("REDIS_URL: cache.url names a user and no password"), "\(found)")
    }
}
