import AppCore
import Probes
import Testing
import Vitals

@testable import healthd

@Suite struct `Configuration, decoded` {
    @Test func `has the promised defaults when nothing is set`() throws {
        let configuration = try decode(nil)
        #expect(configuration.listen.description == "127.0.0.1:9798")
        #expect(configuration.state == "/var/lib/healthd")
        #expect(
            configuration.pool
                == PoolConfiguration(
                    max: 20, min: 2, idleTimeout: .seconds(30), connectTimeout: .seconds(5), deadline: .seconds(2),
                    lifetime: .seconds(1_800),
                    waiters: 200))
        #expect(configuration.cache.ttl == .seconds(300))
        #expect(configuration.cache.memory == .mebibytes(32))
        #expect(configuration.cache.deadline == .milliseconds(50))
        #expect(configuration.cache.choice == .memoryOnly)
        #expect(configuration.tasks == .init(concurrency: 50, perWorkspace: 8))
        #expect(configuration.probes == .init(interval: .seconds(1), timeout: .milliseconds(500)))
        #expect(configuration.rules == Rule.standard)
        #expect(configuration.settings["rules.pool-saturation.leave"] == "0.7")
        #expect(configuration.receivers.isEmpty)
    }

    @Test func `has a pool of ten and private servers when embedded`() throws {
        let configuration = try decode(nil, mode: .embedded, database: false)
        #expect(configuration.database == .embedded)
        #expect(configuration.cache.choice == .embedded)
        #expect(configuration.pool.max == 10)
    }

    @Test func `uses a configured database also when embedded is asked for`() throws {
        let configuration = try decode(nil, ["REDIS_URL": "redis://cache:6380/3\n"], mode: .embedded)
        #expect(configuration.cache.choice == .redis(RedisEndpoint(address: .tcp(host: "cache", port: 6380), database: 3)))
        guard case .external(let keywords) = configuration.database else {
            return #expect(Bool(false), "expected the external database")
        }
        #expect(keywords.values == ["host": "/run/postgresql", "application_name": "healthd"])
    }

    @Test func `reads the whole example of the design`() throws {
        let yaml = """
            listen: 127.0.0.1:9798
            state: /var/lib/healthd
            database:
              url: postgres://app@localhost/app        # or DATABASE_URL, or PG*
              pool: { max: 20, min: 2, idle: 30s, connect: 5s, deadline: 2s, lifetime: 30m, waiters: 200 }
            cache:  { url: redis://127.0.0.1:6379, ttl: 300s, memory: 32MiB, deadline: 50ms }
            tasks:  { concurrency: 50, per-workspace: 8 }
            probes: { interval: 1s, timeout: 500ms }
            rules:
              pool-saturation: { degraded: 0.80, critical: 0.95, leave: 0.70, enter-after: 0s, leave-after: 10s }
            receivers:
              - { name: oncall, webhook: https://example.org/hook, secret-file: /etc/healthd/credentials/webhook }
            targets: []
            """
        let configuration = try decode(yaml, files: ["/etc/healthd/credentials/webhook": .text("whsec_abcd\n")])
        #expect(
            configuration.receivers == [
                try Receiver(name: "oncall", url: "https://example.org/hook", secrets: [Secret("whsec_abcd")])
            ])
        guard case .external(let keywords) = configuration.database else {
            return #expect(Bool(false), "expected the external database")
        }
        #expect(keywords.values["host"] == "localhost" && keywords.values["dbname"] == "app" && keywords.values["user"] == "app")
    }

    @Test func `takes groups without members and an empty file as unset`() throws {
        for yaml in ["", "\u{FEFF}", "\u{FEFF}# nothing\n", "# nothing\n", "database:\ncache:\n", "receivers:\ntargets:\n", "---\n"] {
            #expect(try decode(yaml) == decode(nil))
        }
    }

    @Test func `lets the environment win over the file`() throws {
        let configuration = try decode(
            "database: { pool: { max: 5 } }\ntasks: { per-workspace: 3 }\nlisten: nonsense",
            [
                "HEALTHD_DATABASE_POOL_MAX": "7", "HEALTHD_TASKS_PER_WORKSPACE": "4", "HEALTHD_LISTEN": "[::1]:0",
                "HEALTHD_RULES_POOL_SATURATION_LEAVE_AFTER": "1s",
            ])
        #expect(configuration.pool.max == 7)
        #expect(configuration.tasks.perWorkspace == 4)
        #expect(configuration.listen == ListenAddress(host: "::1", port: 0))
        #expect(configuration.rules.first?.leaveAfter == .seconds(1))
    }

    @Test(arguments: ["auto", "on", "off"])
    func `says whether statements are prepared`(word: String) throws {
        let expected = try #require(PreparedStatements(rawValue: word))
        #expect(try decode("database: { pool: { prepared: \(word) } }").pool.prepared == expected)
        #expect(try decode(nil, ["HEALTHD_DATABASE_POOL_PREPARED": word]).pool.prepared == expected)
    }

    @Test func `takes the state folder from systemd only when nobody set one`() throws {
        #expect(try decode(nil, ["STATE_DIRECTORY": "/var/lib/a:/var/lib/b"]).state == "/var/lib/a")
        #expect(try decode(nil, ["HEALTHD_STATE": "/x//healthd//"]).state == "/x/healthd")
        #expect(try decode("state: /srv/healthd/", ["STATE_DIRECTORY": "/var/lib/a"]).state == "/srv/healthd")
    }

    @Test func `ignores the variables of the scripts`() {
        #expect(problems(nil, ["HEALTHD_BINARY": "/tmp/healthd"]).isEmpty)
    }
}

@Suite struct `Configuration problems` {
    @Test(arguments: [
        ("listen: here", "healthd.yaml:1: listen is \"here\"; expected HOST:PORT, such as 127.0.0.1:9798"),
        ("listen: 1.2.3.4:70000", "healthd.yaml:1: listen is \"1.2.3.4:70000\"; expected HOST:PORT, such as 127.0.0.1:9798"),
        ("listen:", "healthd.yaml:1: listen has no value; expected HOST:PORT, such as 127.0.0.1:9798"),
        ("listen: [a, b]", "healthd.yaml:1: listen is a list; expected HOST:PORT, such as 127.0.0.1:9798"),
        (
            "database: { pool: { prepared: maybe } }",
            "healthd.yaml:1: database.pool.prepared is \"maybe\"; expected auto, on or off"
        ),
        ("state: here", "healthd.yaml:1: state is \"here\"; expected the absolute path of a folder"),
        (
            "database:\n  pool:\n    max: many",
            "healthd.yaml:3: database.pool.max is \"many\"; expected a whole number from 1 to 1000"
        ),
        ("database: { pool: { max: 0 } }", "healthd.yaml:1: database.pool.max is \"0\"; expected a whole number from 1 to 1000"),
        (
            "database: { pool: { max: 2.5 } }",
            "healthd.yaml:1: database.pool.max is \"2.5\"; expected a whole number from 1 to 1000"
        ),
        (
            "database: { pool: { max: 1, min: 3 } }",
            "healthd.yaml:1: database.pool.min is 3; expected at most database.pool.max, which is 1"
        ),
        (
            "database: { pool: { idle: 30 } }",
            "healthd.yaml:1: database.pool.idle is \"30\"; expected a time from 1s to 24h, such as 30s or 250ms"
        ),
        ("database: { pool: 5 }", "healthd.yaml:1: database.pool is \"5\"; expected a group of settings"),
        ("database: []", "healthd.yaml:1: database is a list; expected a group of settings"),
        ("database: { pool: { mxa: 5 } }", "healthd.yaml:1: database.pool.mxa is not a setting; did you mean database.pool.max?"),
        ("databse:\n  pool: { max: 5 }", "healthd.yaml:1: databse is not a setting; did you mean database?"),
        ("database: { host: db }", "healthd.yaml:1: database.host is not a setting"),
        ("database: { pool: { size: 5 } }", "healthd.yaml:1: database.pool.size is not a setting"),
        ("tasks: { per_workspace: 5 }", "healthd.yaml:1: tasks.per_workspace is not a setting; did you mean tasks.per-workspace?"),
        ("zebra: 5", "healthd.yaml:1: zebra is not a setting"),
        ("cache: { memory: 32MB }", "healthd.yaml:1: cache.memory is \"32MB\"; expected a size from 1MiB to 64GiB, such as 32MiB"),
        (
            "cache: { url: rediss://x }",
            "healthd.yaml:1: cache.url is not understood: TLS (rediss://) is not spoken to Redis; name a TLS tunnel on this machine, or a Redis in a network you trust; expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH"
        ),
        ("probes: { timeout: 2s }", "healthd.yaml:1: probes.timeout is 2s; expected at most probes.interval, which is 1s"),
        (
            "rules: { pool-saturation: { degraded: 80 } }",
            "healthd.yaml:1: rules.pool-saturation.degraded is \"80\"; expected a share from 0 to 1, such as 0.8, or off"
        ),
        (
            "rules: { pool-saturation: { leave: 0.9 } }",
            "healthd.yaml:1: rules.pool-saturation.leave is 0.9; expected it not above degraded, which is 0.8"
        ),
        (
            "rules: { query-latency: { critical: 100ms } }",
            "healthd.yaml:1: rules.query-latency.critical is 100ms; expected it above degraded, which is 500ms"
        ),
        (
            "rules: { cache-hit-rate: { leave: 0.1 } }",
            "healthd.yaml:1: rules.cache-hit-rate.leave is 0.1; expected it not below degraded, which is 0.5"
        ),
        (
            "rules: { postgres-down: { failures: 9 } }",
            "healthd.yaml:1: rules.postgres-down.failures is 9; expected at most rules.postgres-down.of, which is 3"
        ),
        ("rules: { pool: { degraded: 0.5 } }", "healthd.yaml:1: rules.pool is not a setting"),
        (
            "receivers: oncall",
            "healthd.yaml:1: receivers is \"oncall\"; expected a list of receivers, each with a name and a webhook"
        ),
        ("receivers:\n  - oncall", "healthd.yaml:2: receivers[0] is not a group of settings; expected { name: …, webhook: … }"),
        ("receivers:\n  - { name: a }", "healthd.yaml:2: receivers[0].webhook is missing"),
        (
            "receivers:\n  - { name: a, webhook: ftp://x }",
            "healthd.yaml:2: receivers[0].webhook does not begin with http:// or https://"
        ),
        (
            "receivers:\n  - { name: a, webhook: http://x, wehbook: y }",
            "healthd.yaml:2: receivers[0].wehbook is not a setting; did you mean receivers[0].webhook?"
        ),
        (
            "receivers:\n  - { name: a, webhook: http://x }\n  - { name: a, webhook: http://y }",
            "healthd.yaml:3: receivers[1].name is \"a\", as another receiver's; expected each name once"
        ),
        (
            "targets:\n  - { kind: postgres }",
            "healthd.yaml:2: targets is not empty; watching other services comes with a later version, leave it out or write []"
        ),
        (
            "database: { url: mysql://x }",
            "healthd.yaml:1: database.url is not understood; expected postgres://USER@HOST:PORT/DATABASE"
        ),
        (
            "database: { url: \"postgres://a:hunter2@b/c\" }",
            "healthd.yaml:1: database.url holds a password; put it into a file named by database.password-file, or the whole URL into DATABASE_URL"
        ),
        ("- a\n- b", "healthd.yaml:1: the file must be a mapping of settings, such as `listen: 127.0.0.1:9798`"),
        ("a.b: 1", "healthd.yaml:1: holds a key that is not a plain name of letters, digits and hyphens"),
    ])
    func `name the line, the key, what stands there and what is expected`(yaml: String, problem: String) {
        #expect(problems(yaml) == [problem])
    }

    @Test(arguments: [
        ("listen: [", 2), ("listen: \"unended\n\nx: 1", 3), ("a: 1\n  b: 2", 2), ("\ta: 1", 1), ("a: *nothing", 1),
        ("a: 1\na: 2", 2),
    ])
    func `say in one line where the file stops being YAML`(yaml: String, line: Int) {
        let found = problems(yaml)
        #expect(found.count == 1)
        #expect(found.first?.contains("\n") == false)
        #expect(found.first?.hasPrefix("healthd.yaml:") == true, "\(found)")
    }

    @Test func `are all listed at once, by line, then by variable`() {
        let yaml = """
            listen: nowhere
            database:
              pool:
                max: many
                idel: 3s
            probes: { interval: 1 }
            """
        #expect(
            problems(yaml, ["HEALTHD_TASKS_CONCURENCY": "3", "HEALTHD_CACHE_TTL": "soon"]) == [
                "healthd.yaml:1: listen is \"nowhere\"; expected HOST:PORT, such as 127.0.0.1:9798",
                "healthd.yaml:4: database.pool.max is \"many\"; expected a whole number from 1 to 1000",
                "healthd.yaml:5: database.pool.idel is not a setting; did you mean database.pool.idle?",
                "healthd.yaml:6: probes.interval is \"1\"; expected a time from 100ms to 1h, such as 30s or 250ms",
                "HEALTHD_CACHE_TTL: cache.ttl is \"soon\"; expected a time from 1s to 168h, such as 30s or 250ms",
                "HEALTHD_TASKS_CONCURENCY is not a setting; did you mean HEALTHD_TASKS_CONCURRENCY?",
            ])
    }

    @Test(arguments: [
        (["HEALTHD_LISTEN": ""], "HEALTHD_LISTEN: listen is empty; expected HOST:PORT, such as 127.0.0.1:9798"),
        (["HEALTHD_PORT": "9798"], "HEALTHD_PORT is not a setting"), (["HEALTHD_VERSION": "1"], "HEALTHD_VERSION is not a setting"),
        (["HEALTHD_RECEIVERS": "a"], "HEALTHD_RECEIVERS is a list; lists are set in the file only"),
        (
            ["DATABASE_URL": "postgres://h/d?sslmod=require"],
            "DATABASE_URL: database.url has the unknown parameter \"sslmod\"; did you mean sslmode?"
        ),
        (["DATABASE_URL": "postgres://h:0/d"], "DATABASE_URL: database.url has a port that is not a number from 1 to 65535"),
        (
            ["DATABASE_URL": "postgres://h/%zz"],
            "DATABASE_URL: database.url has a % in its database name that no two hexadecimal digits follow; write %25 for a %"
        ),
        (
            ["HEALTHD_DATABASE_URL": "nonsense"],
            "HEALTHD_DATABASE_URL: database.url is not understood; expected postgres://USER@HOST:PORT/DATABASE"
        ),
        (["PGPORT": "high"], "PGPORT has a port that is not a number from 1 to 65535"),
        (
            ["PGSSLMODE": "on"],
            "PGSSLMODE has sslmode \"on\"; expected one of disable, allow, prefer, require, verify-ca, verify-full"
        ),
        (["REDIS_URL": "cache:6379"], "REDIS_URL: cache.url is not understood: the scheme is neither redis nor unix; expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH"),
    ])
    func `in the environment name the variable`(environment: [String: String], problem: String) {
        #expect(problems(nil, environment) == [problem])
    }

    @Test func `ask for a database or for the private one`() {
        #expect(
            problems(nil, database: false) == [
                "database.url is not set, nor is DATABASE_URL or PGHOST; name a database, or start with --embedded for a private one"
            ])
        #expect(problems(nil, ["DATABASE_URL": ""], database: false) == ["DATABASE_URL: database.url is empty; expected postgres://USER@HOST:PORT/DATABASE"])
        #expect(problems(nil, ["PGPASSWORD": "x", "PGSSLMODE": "require"], database: false).count == 1)
    }

    @Test(arguments: [
        (FileText.missing, "names /keys/w, which does not exist"),
        (.text(""), "names /keys/w, which is empty; expected the signing secret of this receiver"),
        (.text("\n"), "names /keys/w, which is empty; expected the signing secret of this receiver"),
        (.text("a\nb"), "names /keys/w, which has more than one line; expected the secret alone"),
        (.unreadable(reason: "Permission denied"), "names /keys/w, which cannot be read: Permission denied"),
    ])
    func `name the file of a secret, never its content`(content: FileText, text: String) {
        let found = problems("receivers:\n  - { name: a, webhook: http://x, secret-file: /keys/w }", files: ["/keys/w": content])
        #expect(found == ["healthd.yaml:2: receivers[0].secret-file \(text)"])
    }

    @Test func `say which credential is missing and how to add it`() {
        let yaml = "receivers:\n  - { name: a, webhook: http://x, secret-file: hook }"
        #expect(
            problems(yaml, ["CREDENTIALS_DIRECTORY": "/run/c"]) == [
                "healthd.yaml:2: receivers[0].secret-file names a credential that is not there in /run/c; add LoadCredential=NAME:PATH to the unit, or give the absolute path of a file; expected is the file of the secret, not the secret itself"
            ])
        #expect(
            problems(yaml, ["CREDENTIALS_DIRECTORY": "/run/c"], files: ["/run/c/hook": .text("")]) == [
                "healthd.yaml:2: receivers[0].secret-file names /run/c/hook, which is empty; expected the signing secret of this receiver"
            ])
    }

    @Test func `never hold a secret`() {
        let found = problems(
            "cache: { url: \"redis://:hunter2@h:x\" }",
            ["DATABASE_URL": "postgres://u:hunter2@h:bad/d", "HEALTHD_DATABASE_PASSWORD_FILE": "/nope"])
        #expect(found.count == 3)
        #expect(!found.joined().contains("hunter2"))
    }
}

@Suite struct `Secrets in the configuration` {
    @Test func `come from a systemd credential before the path of the same name`() throws {
        let yaml = "receivers:\n  - { name: a, webhook: http://x, secret-file: /etc/healthd/credentials/hook }"
        let files: [String: FileText] = [
            "/run/c/hook": .text("from-credential"), "/etc/healthd/credentials/hook": .text("from-path"),
        ]
        #expect(
            try decode(yaml, ["CREDENTIALS_DIRECTORY": "/run/c"], files: files).receivers.first?.secrets == [
                Secret("from-credential")
            ]
        )
        #expect(try decode(yaml, files: files).receivers.first?.secrets == [Secret("from-path")])
    }

    @Test func `complete a database URL and a Redis URL from their files`() throws {
        let configuration = try decode(
            "database: { url: postgres://app@db/app, password-file: /p }\ncache: { url: redis://c, password-file: /r }",
            files: ["/p": .text("one\n"), "/r": .text("two")])
        guard case .external(let keywords) = configuration.database else {
            return #expect(Bool(false), "expected the external database")
        }
        #expect(keywords.values["password"] == "one")
        #expect(configuration.cache.choice == .redis(RedisEndpoint(address: .tcp(host: "c", port: 6379), password: Secret("two"))))
    }

    @Test func `are never printed, dumped or in the digest's text`() throws {
        let configuration = try decode(
            "receivers:\n  - { name: a, webhook: https://hooks.example.org/T0/hunter2, secret-file: /k }",
            ["DATABASE_URL": "postgres://u:hunter2@h/d", "REDIS_URL": "redis://:hunter2@c"], files: ["/k": .text("hunter2")])
        var dumped = ""
        dump(configuration.database, to: &dumped)
        dump(configuration.cache, to: &dumped)
        #expect(!dumped.contains("hunter2"))
        #expect(!configuration.lines.joined().contains("hunter2"))
        #expect(configuration.lines.contains("receivers[0].webhook = (an address at hooks.example.org)"))
        #expect(configuration.lines.contains("database.url = application_name=healthd dbname=d host=h password=<redacted> user=u"))
        #expect(configuration.digest.count == 64)
    }
}

@Suite struct `The link in alerts` {
    @Test(arguments: [
        "http://health", "https://health.example.org/", "http://10.0.0.1:9798", "https://[2001:db8::1]:8443/a/b", "HTTP://x/%20",
    ])
    func `A11: is any address that a browser opens`(_ text: String) throws {
        #expect(try decode(nil, ["HEALTHD_EXTERNAL_URL": text]).link == text)
    }

    @Test(arguments: [
        "health.example.org", "ftp://x", "http://", "https:///a", "http://user:hunter2@x/", "http://x:0/", "http://x:99999/", "http://x:/", "http://x/?token=hunter2",
        "http://x/#hunter2", "http://x/a b", "http://ex\u{E4}mple/", "http://[::1", "http://[x]/", "http://a]b/", "http://x/\"onclick=",
    ])
    func `A11: is refused where it would be none, or hold what not everybody may know`(_ text: String) {
        let found = problems(nil, ["HEALTHD_EXTERNAL_URL": text])
        #expect(found.count == 1 && found[0].hasPrefix("HEALTHD_EXTERNAL_URL: external-url is "), "\(found)")
        #expect(!found.joined().contains("hunter2"))
    }
}

@Suite struct `A reload` {
    private let old = "database: { pool: { max: 5 } }\nrules: { pool-saturation: { leave: 0.5 } }"

    @Test func `of the same text changes nothing`() throws {
        let configuration = try decode(old)
        #expect(try configuration.difference(to: decode(old)).isEmpty)
        #expect(try configuration.digest == decode(old).digest)
    }

    @Test func `takes thresholds and receivers, and names what needs a restart`() throws {
        let configuration = try decode(old)
        let next = try decode(
            "database: { pool: { max: 6 } }\nlisten: 127.0.0.1:1\nrules: { pool-saturation: { leave: 0.6 } }\nreceivers:\n  - { name: a, webhook: http://x }"
        )
        let difference = configuration.difference(to: next)
        #expect(
            difference.live == [
                "receivers[0].name", "receivers[0].secret-file", "receivers[0].webhook", "rules.pool-saturation.leave",
            ])
        #expect(difference.needsRestart == ["database.pool.max", "listen"])
        let inForce = configuration.reloaded(with: next)
        #expect(inForce.pool.max == 5 && inForce.listen.port == 9798)
        #expect(inForce.receivers == next.receivers && inForce.rules == next.rules)
    }

    @Test func `A11: changes where alerts link to at once, from this machine's name to the address people use`() throws {
        let configuration = try decode("listen: 127.0.0.1:9798")
        #expect(configuration.link == "http://\(hostName()):9798/")
        let next = try decode("listen: 127.0.0.1:9798\nexternal-url: https://health.example.org/app")
        #expect(next.link == "https://health.example.org/app")
        #expect(configuration.difference(to: next) == ConfigurationDifference(live: ["external-url"], needsRestart: []))
        #expect(configuration.reloaded(with: next).link == next.link)
        #expect(next.reloaded(with: configuration).link == configuration.link)
    }

    @Test func `notices a secret that changed behind the same name`() throws {
        let yaml = "receivers:\n  - { name: a, webhook: http://x, secret-file: /k }"
        let before = try decode(yaml, ["PGPASSWORD": "one"], files: ["/k": .text("one")])
        let after = try decode(yaml, ["PGPASSWORD": "two"], files: ["/k": .text("two")])
        #expect(before.difference(to: after) == ConfigurationDifference(live: ["receivers"], needsRestart: ["database.url"]))
    }
}
