import AppCore
import Vitals

extension Configuration {
    /// Which database, and how long a connect may take where its name says so.
    ///
    /// Every place where libpq looks, in its order: what is given, the service it names, the environment. All of it becomes keywords, so that
    /// libpq has nothing left to look up by itself.
    static func readDatabase(
        _ environment: [String: String], _ mode: Mode, _ secrets: SecretFiles, _ reader: inout SettingReader
    ) -> (DatabaseChoice, connectTimeout: Duration?) {
        let expected = "postgres://USER@HOST:PORT/DATABASE"
        // An empty DATABASE_URL beside them counts as unset, as theirs do.
        let isNamedByVariables = ConnectionKeywords.naming.contains { environment[$0]?.isEmpty == false }
        var source = reader.text("database.url", expected: expected)
        if case .environment? = source?.origin {
        } else if let url = environment["DATABASE_URL"], !url.isEmpty || !isNamedByVariables {
            source = SettingReader.Found(text: url, origin: .environment("DATABASE_URL"))
        }
        source = source.map { SettingReader.Found(text: withoutLineEnd($0.text), origin: $0.origin) }
        var named = NamedDatabase()
        var isUnderstood = true
        if let source {
            do throws(URLComplaint) {
                guard !source.text.isEmpty else { throw URLComplaint("is empty; expected \(expected)") }
                let isString = ConnectionString.isOne(source.text)
                let keywords = isString ? try ConnectionString(source.text).keywords : try PostgresURL(source.text).keywords
                if case .file = source.origin, let secret = keywords.secretGiven {
                    throw URLComplaint(
                        secret == "password"
                            ? passwordInFile("database")
                            : "holds \(secret), a secret; put the whole URL into DATABASE_URL, or \(secret) into a service's file")
                }
                named.add(keywords.values.mapValues { ($0, source.origin) })
            } catch {
                reader.report("database.url", source.origin, error.text)
                isUnderstood = false
            }
        }
        let password =
            reader.hasPasswordFile("database", for: source, whichBringsOne: named.values["password"] != nil || environment["PGPASSWORD"]?.isEmpty == false)
            ? secrets.read("database.password-file", what: "the password of the database", &reader) : nil
        guard isUnderstood else { return (.embedded, nil) }
        if source == nil, !isNamedByVariables {
            if mode == .configured, reader.origin(of: "database.url") == .unset {
                reader.report(
                    "database.url", .unset,
                    "is not set, nor is DATABASE_URL or PGHOST; name a database, or start with --embedded for a private one")
            }
            return (.embedded, nil)
        }
        do throws(ConfigurationProblem) {
            try named.complete(from: environment, files: secrets.read)
        } catch {
            reader.report(error.key, error.origin, error.text)
            return (.embedded, nil)
        }
        if let complaint = named.keywords.complaint() ?? named.keywords.misfit(), let origin = named.origins[complaint.keyword] {
            reader.report(source?.origin == origin ? "database.url" : "", origin, complaint.text)
        }
        let timeout = readConnectTimeout(&named, isURL: { source?.origin == $0 }, &reader)
        if let password { named.values["password"] = password.reveal() }
        if named.values["application_name"] == nil { named.values["application_name"] = "healthd" }
        return (.external(named.keywords.tidied), timeout)
    }

    /// libpq's own is of its blocking connect; ours is `database.pool.connect`, and wins where it is set.
    private static func readConnectTimeout(
        _ named: inout NamedDatabase, isURL: (SettingOrigin) -> Bool, _ reader: inout SettingReader
    ) -> Duration? {
        guard let text = named.values.removeValue(forKey: "connect_timeout"), reader.origin(of: "database.pool.connect") == .unset,
            let seconds = libpqNumber(text), seconds > 0, let origin = named.origins["connect_timeout"]
        else { return nil }
        guard seconds <= 300 else {
            reader.report(
                isURL(origin) ? "database.url" : "", origin,
                "has connect_timeout \(seconds); expected at most 300 seconds, as for database.pool.connect, or 0 for its default")
            return nil
        }
        return .seconds(seconds)
    }

    static func passwordInFile(_ section: String) -> String {
        let variable = section == "database" ? "DATABASE_URL" : "REDIS_URL"
        return "holds a password; put it into a file named by \(section).password-file, or the whole URL into \(variable)"
    }
}

/// Keywords with the place each one comes from.
private struct NamedDatabase {
    var values: [String: String] = [:]
    private(set) var origins: [String: SettingOrigin] = [:]

    var keywords: ConnectionKeywords { ConnectionKeywords(values) }

    /// What is there already stays.
    mutating func add(_ more: [String: (value: String, origin: SettingOrigin)]) {
        for (keyword, found) in more where values[keyword] == nil {
            (values[keyword], origins[keyword]) = (found.value, found.origin)
        }
    }

    mutating func complete(from environment: [String: String], files: @escaping (String) -> FileText) throws(ConfigurationProblem) {
        func variable(_ name: String) -> (value: String, origin: SettingOrigin)? {
            environment[name].flatMap { $0.isEmpty ? nil : ($0, .environment(name)) }
        }
        add(["service": variable("PGSERVICE"), "servicefile": variable("PGSERVICEFILE")].compactMapValues { $0 })
        if let service = values["service"], !service.isEmpty {
            let origin = origins["service"] ?? .unset
            let key = origin == .environment("PGSERVICE") ? "" : "database.url"
            let files = ServiceFiles(environment: environment, read: files)
            add(try files.service(service, file: values["servicefile"], namedBy: origin, key))
        }
        values["service"] = nil
        values["servicefile"] = nil
        for (name, keyword) in ConnectionKeywords.variables where !["service", "servicefile"].contains(keyword) {
            if let found = variable(name) { add([keyword: found]) }
        }
        // Deprecated, and libpq reads it still.
        if let required = variable("PGREQUIRESSL"), required.value.hasPrefix("1") { add(["sslmode": ("require", required.origin)]) }
    }
}
