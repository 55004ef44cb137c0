import AppCore
import Testing
import Vitals

@testable import healthd

/// Every way in which people say where their database is, and what libpq is given in the end.
@Suite struct `A database` {
    private func keywords(_ environment: [String: String], yaml: String? = nil, files: [String: FileText] = [:]) throws -> [String: String] {
        let configuration = try decode(yaml, environment, files: files, database: false)
        guard case .external(let keywords) = configuration.database else { return [:] }
        return keywords.values.filter { $0 != ("application_name", "healthd") }
    }

    @Test(
        arguments: [
            ("postgresql://", [:]),
            ("postgres://u@/d", ["user": "u", "dbname": "d"]),
            ("postgres://u:@h/d", ["user": "u", "host": "h", "dbname": "d"]),
            ("postgres://:p@h", ["password": "p", "host": "h"]),
            ("postgres://h:/d", ["host": "h", "dbname": "d"]),
            ("postgres://:5433/d", ["port": "5433", "dbname": "d"]),
            ("postgres://h:65535/d", ["host": "h", "port": "65535", "dbname": "d"]),
            ("postgres://h?user=u", ["host": "h", "user": "u"]),
            ("postgres://h/d\n", ["host": "h", "dbname": "d"]),
            ("postgres://h/d?sslmode=require\r\n", ["host": "h", "dbname": "d", "sslmode": "require"]),
            ("postgres://h/a/b", ["host": "h", "dbname": "a/b"]),
            ("postgres://[::1]/d", ["host": "::1", "dbname": "d"]),
            ("postgres://[fe80::1%25lo]:1/d", ["host": "fe80::1%lo", "port": "1", "dbname": "d"]),
            ("postgres://[::1]:1,[::2]:2,h/d", ["host": "::1,::2,h", "port": "1,2,", "dbname": "d"]),
            ("postgres://a,b,c/d", ["host": "a,b,c", "dbname": "d"]),
            ("postgres://a,b/d?port=5", ["host": "a,b", "port": "5", "dbname": "d"]),
            ("postgres://h:%20+5%0D,g:%096/d?keepalives_idle=%20+7%20", ["host": "h,g", "port": "5,6", "dbname": "d", "keepalives_idle": "7"]),
            ("postgres://u:p@@@h/d", ["user": "u", "password": "p@@", "host": "h", "dbname": "d"]),
            ("postgres://a:1,,b:3/d", ["host": "a,,b", "port": "1,,3", "dbname": "d"]),
            ("postgres://%2Frun%2Fpg:1/d", ["host": "/run/pg", "port": "1", "dbname": "d"]),
            ("postgres://@abstract/d", ["host": "abstract", "dbname": "d"]),
            ("postgres://u@@abstract/d", ["user": "u", "host": "@abstract", "dbname": "d"]),
            ("postgres:///d?host=@abstract", ["host": "@abstract", "dbname": "d"]),
            ("postgres://%40abstract/d", ["host": "@abstract", "dbname": "d"]),
            ("postgres://h/d?host=/run/pg", ["host": "/run/pg", "dbname": "d"]),
            ("postgres://h/d?options=-c%20search_path%3Da%2Cb", ["host": "h", "dbname": "d", "options": "-c search_path=a,b"]),
            ("postgres://h/d?options=-c%20a=b", ["host": "h", "dbname": "d", "options": "-c a=b"]),
            ("postgres://h/d?ssl_min_protocol_version=", ["host": "h", "dbname": "d", "ssl_min_protocol_version": ""]),
            ("postgres://a@b:s3cr@h,g/d", ["user": "a@b", "password": "s3cr", "host": "h,g", "dbname": "d"]),
            ("postgres://h/d?requiressl=1", ["host": "h", "dbname": "d", "sslmode": "require"]),
            ("postgres://h/d?application_name=x&", ["host": "h", "dbname": "d", "application_name": "x"]),
            // Reserved characters, encoded and as they are.
            ("postgres://%3A%2F%3F%23%5B%5D%40:%21%24%26%27%28%29%2A%2B%2C%3B%3D%25@h/d", ["user": ":/?#[]@", "password": "!$&'()*+,;=%", "host": "h", "dbname": "d"]),
            ("postgres://u:a:b?c#d[e]!$&'()*+,;=@h/d", ["user": "u", "password": "a:b?c#d[e]!$&'()*+,;=", "host": "h", "dbname": "d"]),
            ("postgres://u:p@ss@h:1/d", ["user": "u", "password": "p@ss", "host": "h", "port": "1", "dbname": "d"]),
            ("postgres://u:p\u{308}\u{20AC}@h/d", ["user": "u", "password": "p\u{308}\u{20AC}", "host": "h", "dbname": "d"]),
            // libpq's other form.
            ("host=db port=5432 dbname = app user='o''", nil),
            ("host=db dbname = app user=o\\'neil password='a b\\'c'", ["host": "db", "dbname": "app", "user": "o'neil", "password": "a b'c"]),
            ("host='' dbname=app", ["host": "", "dbname": "app"]),
            ("\n host=a,b\n port=1,2\t", ["host": "a,b", "port": "1,2"]),
        ] as [(String, [String: String]?)])
    func `is named by a URL or a connection string`(text: String, expected: [String: String]?) throws {
        #expect((try? keywords(["DATABASE_URL": text])) == expected)
    }

    @Test(arguments: [
        ("postgres://app:s3cr/et@db/app", "has an @ after a /; write a / in the user name or the password as %2F, and an @ in the name of the database as %40"),
        ("postgres://app:12/s3cr@db/app", "has an @ after a /; write a / in the user name or the password as %2F, and an @ in the name of the database as %40"),
        ("postgres://app:s3cr@db:s3cr/app", "has a port that is not a number from 1 to 65535"),
        ("postgres://db:s3cr", "has a port that is not a number from 1 to 65535"),
        ("postgres://db:65536/app", "has a port that is not a number from 1 to 65535"),
        ("postgres://db:-1/app", "has a port that is not a number from 1 to 65535"),
        ("postgres://db:1%200/app", "has a port that is not a number from 1 to 65535"),
        ("postgres://db/app?keepalives_idle=1%200", "has keepalives_idle \"1 0\"; expected a whole number"),
        ("postgres://db/app?keepalives_idle=4294967296", "has keepalives_idle \"4294967296\"; expected a whole number"),
        ("postgres://app:s3cr@@127.0.0.1/app", "has @@ before its host; write an @ in the password as %40, and that of an abstract socket as well"),
        ("postgres://db/app?port=99999999999999999999", "has a port that is not a number from 1 to 65535"),
        ("postgres://app:%s3cr@db/app", "has a % in its password that no two hexadecimal digits follow; write %25 for a %"),
        ("postgres://db:1,db:2,db:3/app?port=1,2", "has 2 ports for 3 hosts; expected as many, or one for all"),
        ("postgres://a,b/app?hostaddr=::1", "has 1 hostaddr for 2 host; expected as many"),
        ("postgres://u@db:1,s3cr@db/app", "has a user after a comma; name one user, before the first host, or write a comma in the password as %2C"),
        ("postgres://u:s3cr@db,u:s3cr@db/app", "has a user after a comma; name one user, before the first host, or write a comma in the password as %2C"),
        ("postgres://[]/app", "has an empty IPv6 address"),
        ("postgres://db/app?s3cr=@", "has an unknown parameter"), ("postgres://db/app?s3cr@=1", "has an unknown parameter"),
        ("postgres://db/app?load_balance_hosts=random", "has the unknown parameter \"load_balance_hosts\"; load_balance_hosts came with libpq 16, and this one is "),
        ("postgres://db/app?replication=database", "asks for a replication connection, which answers no queries; leave replication out"),
        ("postgres://db/app?keepalives_idle=soon", "has keepalives_idle \"soon\"; expected a whole number"),
        ("postgres://db/app?connect_timeout=soon", "has connect_timeout \"soon\"; expected a whole number"),
        ("postgres://db/app?connect_timeout=301", "has connect_timeout 301; expected at most 300 seconds, as for database.pool.connect, or 0 for its default"),
        ("postgres://db/app?target_session_attrs=master", "has target_session_attrs \"master\"; expected one of any, read-write, read-only, primary, standby, prefer-standby"),
        ("host=db password=a s3cr", "has a word without =; write a value with blanks as 'value'"),
        ("host=db password=a s3cr=b", "has an unknown keyword"),
        ("host=db password='s3cr", "has a value without its closing '"),
        ("mysql://app:s3cr@db/app?x=1", "is not understood; expected postgres://USER@HOST:PORT/DATABASE"),
    ])
    func `A10: that cannot be understood is refused in one sentence that quotes no part of a password`(text: String, complaint: String) throws {
        let found = problems(nil, ["DATABASE_URL": text], database: false)
        #expect(found.count == 1 && found.first?.hasPrefix("DATABASE_URL: database.url \(complaint)") == true, "\(found)")
        #expect(found.first?.contains("s3cr") == false)
    }

    @Test(arguments: ConnectionKeywords.sslModes)
    func `may name each sslmode`(mode: String) throws {
        #expect(try keywords(["DATABASE_URL": "postgres://h/d?sslmode=\(mode)"])["sslmode"] == mode)
        #expect(try keywords(["PGHOST": "h", "PGSSLMODE": mode])["sslmode"] == mode)
    }

    /// Values that libpq takes, where a word will not do.
    private static let values = [
        "sslmode": "require", "target_session_attrs": "any", "channel_binding": "prefer", "gssencmode": "disable",
        "ssl_min_protocol_version": "tlsv1.2", "ssl_max_protocol_version": "TLSv1.3", "port": "5433", "replication": "false",
        "connect_timeout": "7", "keepalives": "1", "keepalives_idle": "1", "keepalives_interval": "1", "keepalives_count": "1",
        "tcp_user_timeout": "1", "hostaddr": "127.0.0.1", "service": "s",
    ]

    @Test(arguments: LibpqOption.all)
    func `may use every keyword and variable that the loaded libpq knows`(option: LibpqOption) throws {
        let value = Self.values[option.keyword] ?? "word"
        let files = ["/s": FileText.text("[s]\nkeepalives=0\n")]
        let expected: [String: String] =
            switch option.keyword {
            case "service": ["keepalives": "0"]
            case "connect_timeout": [:]
            default: [option.keyword: value]
            }
        var texts = ["postgres://?\(option.keyword)=\(value)", "\(option.keyword)=\(value)"].map { ["DATABASE_URL": $0] }
        if let variable = option.variable { texts.append(["DATABASE_URL": "postgres://", variable: value]) }
        for environment in texts {
            #expect(try keywords(environment.merging(["PGSERVICEFILE": "/s"]) { $1 }, files: files) == expected, "\(environment)")
        }
    }

    @Test func `never shows what libpq does not show`() throws {
        let secret = LibpqOption.all.filter(\.isSecret).map(\.keyword)
        #expect(Set(secret).isSuperset(of: ["password", "sslpassword"]))
        for keyword in secret {
            let shown = try decode(nil, ["DATABASE_URL": "postgres://h?\(keyword)=hunter2"], database: false).lines
            #expect(shown.contains { $0.contains("\(keyword)=<redacted>") } && !shown.joined().contains("hunter2"))
        }
    }

    @Test func `knows at least what libpq 15 knows`() {
        let all = Set(LibpqOption.all.map(\.keyword))
        #expect(all.isSuperset(of: ["host", "hostaddr", "passfile", "service", "gsslib", "sslcrldir", "tcp_user_timeout", "connect_timeout", "options"]))
        #expect(Set(ConnectionKeywords.variables.values).count == ConnectionKeywords.variables.count)
        #expect(ConnectionKeywords.naming.isSubset(of: ConnectionKeywords.variables.keys))
    }

    @Test func `is completed by variables, which never overrule it`() throws {
        let environment = ["DATABASE_URL": "postgres://db/app", "PGHOST": "other", "PGUSER": "u", "PGPASSWORD": "p", "PGREQUIRESSL": "1", "PGPORT": ""]
        #expect(try keywords(environment) == ["host": "db", "dbname": "app", "user": "u", "password": "p", "sslmode": "require"])
        #expect(try keywords(environment.merging(["PGSSLMODE": "disable"]) { $1 })["sslmode"] == "disable")
        #expect(try keywords(["DATABASE_URL": "", "PGHOST": "h", "PGPORT": " 5433\r"]) == ["host": "h", "port": "5433"])
    }

    @Test(arguments: [
        ("postgres://h/d?connect_timeout=10", nil, Duration.seconds(10)), ("postgres://h/d?connect_timeout=0", nil, .seconds(5)),
        ("postgres://h/d?connect_timeout=-1", nil, .seconds(5)), ("postgres://h/d?connect_timeout=10", "3s", .seconds(3)),
        ("postgres://h/d?connect_timeout=900", "3s", .seconds(3)), ("host=h connect_timeout=2", nil, .seconds(2)),
    ])
    func `says how long a connect may take, unless the pool does`(url: String, pool: String?, expected: Duration) throws {
        let environment = ["DATABASE_URL": url, "HEALTHD_DATABASE_POOL_CONNECT": pool].compactMapValues { $0 }
        #expect(try decode(nil, environment, database: false).pool.connectTimeout == expected)
        #expect(try decode(nil, ["PGCONNECT_TIMEOUT": "4"]).pool.connectTimeout == .seconds(4))
    }

    @Test func `in the file may be a connection string, but holds no password there`() throws {
        #expect(try keywords([:], yaml: "database: { url: \"host=db dbname=app\" }") == ["host": "db", "dbname": "app"])
        for text in ["host=db sslpassword=hunter2", "postgres://db/app?sslpassword=hunter2"] {
            let found = problems("database: { url: \"\(text)\" }", database: false)
            #expect(found == ["healthd.yaml:1: database.url holds sslpassword, a secret; put the whole URL into DATABASE_URL, or sslpassword into a service's file"])
        }
        let found = problems("database: { url: \"host=db password=hunter2\" }", database: false)
        #expect(found.count == 1 && found[0].contains("holds a password; put it into a file") && !found[0].contains("hunter2"))
    }
}

/// `PGSERVICE`, `service=` and the files they lead to.
@Suite struct `A service` {
    private static let text = """
        # ours
        [other]
        host=elsewhere

          [mydb]\r
        host=db.internal\r
        port=5433
        password=hunter2
        port=1

        [mydb]
        user=late
        [broken]
        host
        [nested]
        service=mydb
        [directory]
        ldap://ldap.example/x
        [strange]
        hots=db
        [odd]
        sslmode=on
        """
    private let files: [String: FileText] = [
        "/own/.pg_service.conf": .text("[mine]\nhost=mine\n"), "/etc/postgresql-common/pg_service.conf": .text(text),
        "/sys/pg_service.conf": .text("[mydb]\nhost=sys\n"), "/svc": .text("[mydb]\nhost=svc\n"), "/bad": .unreadable(reason: "Permission denied"),
    ]

    @Test(arguments: [
        (["PGSERVICE": "mydb"], "db.internal"), (["PGSERVICE": "mine"], "mine"), (["PGSERVICE": "mydb", "PGSYSCONFDIR": "/sys"], "sys"),
        (["PGSERVICE": "mydb", "PGSERVICEFILE": "/svc"], "svc"), (["PGSERVICE": "other", "PGSERVICEFILE": "/svc"], "elsewhere"),
        (["DATABASE_URL": "postgres://?service=mydb"], "db.internal"), (["DATABASE_URL": "service=mydb"], "db.internal"),
        (["DATABASE_URL": "postgres://given/x", "PGSERVICE": "mydb"], "given"), (["PGSERVICE": "mydb", "PGHOST": "variable"], "db.internal"),
        (["DATABASE_URL": "postgres://?service=mine", "PGSERVICE": "mydb"], "mine"),
    ])
    func `is found where libpq finds it, and stands between the URL and the variables`(environment: [String: String], host: String) throws {
        let configuration = try decode(nil, environment.merging(["HOME": "/own"]) { $1 }, files: files, database: false)
        guard case .external(let keywords) = configuration.database else { return #expect(Bool(false), "no database") }
        #expect(keywords.values["host"] == host)
        #expect(keywords.values["service"] == nil && keywords.values["servicefile"] == nil)
        #expect(!configuration.lines.joined().contains("hunter2"))
    }

    @Test(arguments: [[:], ["HOME": ""]] as [[String: String]])
    func `is looked for in the home of the system's list of users where HOME is not set`(environment: [String: String]) throws {
        let home = try #require(PasswordFile.homeFolder(given: nil))
        #expect(home.hasPrefix("/") && PasswordFile.homeFolder(given: "/own") == "/own")
        let configuration = try decode(
            nil, environment.merging(["PGSERVICE": "mine"]) { $1 }, files: ["\(home)/.pg_service.conf": .text("[mine]\nhost=mine\n")], database: false)
        #expect(configuration.settings["database.url"] == "application_name=healthd host=mine")
    }

    @Test(arguments: [
        ("# Kunde M\u{FC}ller\n[m\u{FC}]\nhost=\u{FC}\n[mydb]\nhost=latin\n", nil), ("[mydb]\nhost=\u{FC}\n", "/svc:2: is not UTF-8"),
        ("[mydb]\n# \u{FC}\nhost=latin\n[m\u{FC}]\n", nil),
    ] as [(String, String?)])
    func `may have comments in Latin-1 around it`(text: String, complaint: String?) throws {
        let files = ["/svc": FileText.notUTF8(text.unicodeScalars.map { UInt8($0.value) })]
        let environment = ["PGSERVICE": "mydb", "PGSERVICEFILE": "/svc"]
        #expect(problems(nil, environment, files: files, database: false) == [complaint].compactMap { $0 })
        guard complaint == nil, case .external(let keywords) = try decode(nil, environment, files: files, database: false).database else { return }
        #expect(keywords.values["host"] == "latin")
    }

    @Test func `behind a byte order mark is told of, since libpq does not see it`() {
        let files = ["/svc": FileText.text("\u{FEFF}[mydb]\nhost=h\n")]
        #expect(
            problems(nil, ["PGSERVICE": "mydb", "PGSERVICEFILE": "/svc"], files: files, database: false) == [
                "/svc:1: begins with a byte order mark, which libpq takes for a piece of the section's name; save the file without it"
            ])
    }

    @Test func `gives all of its first section, and the first of two equal keywords`() throws {
        let configuration = try decode(nil, ["PGSERVICE": "mydb", "PGUSER": "u"], files: files, database: false)
        #expect(configuration.settings["database.url"] == "application_name=healthd host=db.internal password=<redacted> port=5433 user=u")
    }

    @Test(arguments: [
        (["PGSERVICE": "none"], "PGSERVICE names the service \"none\", which is not defined in /own/.pg_service.conf nor in /etc/postgresql-common/pg_service.conf"),
        (["PGSERVICE": "none", "PGSERVICEFILE": "/gone"], "PGSERVICE names the service \"none\", whose file /gone does not exist"),
        (["PGSERVICE": "none", "PGSERVICEFILE": "/bad"], "PGSERVICE names the service \"none\", whose file /bad cannot be read: Permission denied"),
        (["DATABASE_URL": "postgres://?service=none"], "DATABASE_URL: database.url names the service \"none\", which is not defined in /own/.pg_service.conf nor in /etc/postgresql-common/pg_service.conf"),
        (["PGSERVICE": "broken"], "/etc/postgresql-common/pg_service.conf:14: is not keyword=value"),
        (["PGSERVICE": "nested"], "/etc/postgresql-common/pg_service.conf:16: names a service inside a service, which libpq does not read either"),
        (["PGSERVICE": "directory"], "/etc/postgresql-common/pg_service.conf:18: asks an LDAP server for the service, which healthd does not do; name the keywords here"),
        (["PGSERVICE": "strange"], "/etc/postgresql-common/pg_service.conf:20: has an unknown keyword; did you mean host?"),
        (["PGSERVICE": "odd"], "/etc/postgresql-common/pg_service.conf:22: has sslmode \"on\"; expected one of disable, allow, prefer, require, verify-ca, verify-full"),
    ])
    func `that cannot be used is told with its file and line`(environment: [String: String], problem: String) {
        #expect(problems(nil, environment.merging(["HOME": "/own"]) { $1 }, files: files, database: false) == [problem])
    }
}
