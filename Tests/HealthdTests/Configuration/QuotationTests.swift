import Testing

@testable import healthd

/// What stands in the wrong place is told of without its secret.
@Suite struct `A text in the wrong place` {
    @Test(
        arguments: [
            ("database: postgres://app:geheim@h/db", "database is the address of a database, which belongs in database.url or DATABASE_URL; expected a group of settings"),
            ("database: host=db password=geheim", "database is a connection string, which belongs in database.url or DATABASE_URL; expected a group of settings"),
            ("database: { pool: postgres://app:geheim@h/db }", "database.pool is the address of a database, which belongs in database.url or DATABASE_URL; expected a group of settings"),
            ("cache: redis://:geheim@h", "cache is the address of a Redis, which belongs in cache.url or REDIS_URL; expected a group of settings"),
            ("cache: { ttl: redis://:geheim@h }", "cache.ttl is the address of a Redis, which belongs in cache.url or REDIS_URL; expected a time from 1s to 168h, such as 30s or 250ms"),
            ("receivers: https://hooks.example.org/geheim", "receivers is an address, not shown here because it may hold a secret; expected a list of receivers, each with a name and a webhook"),
            ("targets: https://hooks.example.org/geheim", "targets is an address, not shown here because it may hold a secret; expected an empty list"),
            ("listen: app:geheim@h", "listen is an address, not shown here because it may hold a secret; expected HOST:PORT, such as 127.0.0.1:9798"),
            ("\"postgres://app:geheim@h/db\": x", "holds the address of a database, which belongs in database.url or DATABASE_URL, where the name of a setting is expected"),
            ("\"app:geheim@h\": x", "holds an address, not shown here because it may hold a secret, where the name of a setting is expected"),
            ("database: { whsec_geheim: x }", "holds a signing secret, which belongs in a file that secret-file names, where the name of a setting is expected"),
            ("\"zebra\\nhealthd.yaml:1: x\": 1", "holds a key that is not a plain name of letters, digits and hyphens"),
            ("whsec_geheim: 1\nwhsec_geheim: 2", "is given twice: a signing secret, which belongs in a file that secret-file names"),
            ("database: { password-file: geheim }", "database.password-file is no absolute path, and there are no credentials here (CREDENTIALS_DIRECTORY is not set); expected is the file of the secret, not the secret itself"),
            ("database: { password-file: geheim/ }", "database.password-file is no path; expected the path of a file, or the name of a credential"),
            ("receivers: [{ name: a, webhook: http://x, secret-file: whsec_geheim }]", "receivers[0].secret-file is no absolute path, and there are no credentials here (CREDENTIALS_DIRECTORY is not set); expected is the file of the secret, not the secret itself"),
            ("receivers: [{ name: whsec_geheim=, webhook: http://x }]", "receivers[0].name is a signing secret, which belongs in a file that secret-file names; expected letters, digits, dots, hyphens and underscores, at most 64"),
        ] as [(String, String)])
    func `of the file is told by its kind`(yaml: String, problem: String) {
        let found = problems(yaml)
        #expect(found.count == 1 && found[0].hasSuffix(": \(problem)"), "\(found)")
        #expect(!found.joined().contains("geheim"))
    }

    @Test(arguments: [
        (["HEALTHD_LISTEN": "postgres://app:geheim@h"], "HEALTHD_LISTEN: listen is the address of a database, which belongs in database.url or DATABASE_URL; expected HOST:PORT, such as 127.0.0.1:9798"),
        (["PGSERVICE": "postgres://app:geheim@h"], "PGSERVICE holds the address of a database, which belongs in database.url or DATABASE_URL, where the name of a service is expected"),
        (["PGSERVICE": "a", "PGSERVICEFILE": "postgres://app:geheim@h"], "PGSERVICE holds the address of a database, which belongs in database.url or DATABASE_URL, where the name of a service's file is expected"),
        (["PGHOST": "postgres://app:geheim@h"], "PGHOST has the address of a database, which belongs in database.url or DATABASE_URL, where host is expected"),
        (["PGDATABASE": "postgres://app:geheim@h"], "PGDATABASE has the address of a database, which belongs in database.url or DATABASE_URL, where dbname is expected"),
        (["PGSSLMODE": "app:geheim@h"], "PGSSLMODE has an address, not shown here because it may hold a secret, where sslmode is expected"),
        (["PGSSLMODE": "postgres://app:geheim@h"], "PGSSLMODE has the address of a database, which belongs in database.url or DATABASE_URL, where sslmode is expected"),
        (["HEALTHD_CACHE_PASSWORD_FILE": "geheim", "CREDENTIALS_DIRECTORY": "/run/c"], "HEALTHD_CACHE_PASSWORD_FILE: cache.password-file names a credential that is not there in /run/c; add LoadCredential=NAME:PATH to the unit, or give the absolute path of a file; expected is the file of the secret, not the secret itself"),
    ])
    func `of the environment is told by its kind`(environment: [String: String], problem: String) {
        let found = problems(nil, environment)
        #expect(found == [problem])
    }

    @Test func `never begins a new line`() throws {
        let found = problems(nil, ["HEALTHD_A\nlisten = x": "1", "DATABASE_URL": "postgres://h/d?sslmode=a%0Alisten"])
        #expect(found.count == 2 && !found.joined().contains("\n"))
        let lines = try decode(nil, ["DATABASE_URL": "postgres://u%0Alisten%C2%85@h/d"]).lines
        #expect(lines.filter { $0.contains("listen") }.count == 2)
        #expect(!lines.joined().unicodeScalars.contains { $0 == "\n" || $0 == "\u{85}" })
    }
}
