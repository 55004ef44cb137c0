import AppCore
import Probes
import Vitals

/// What a file that holds a secret turned out to be.
enum FileText: Sendable, Hashable {
    case text(String)
    /// The bytes of a file in some other encoding: for readers that need a part of it only.
    case notUTF8([UInt8])
    case missing
    case unreadable(reason: String)
}

extension Configuration {
    /// `HEALTHD_` variables that belong to the scripts around the program; the program itself ignores them.
    static let scriptVariables: Set<String> = ["HEALTHD_BINARY"]

    /// Decodes the file's text and the environment into one value. Pure: what else it needs comes through `files`.
    ///
    /// Order of precedence: `HEALTHD_*`, then `DATABASE_URL` / `REDIS_URL`, then the file, then the default. `PG*` variables complete a
    /// database URL as they do for libpq, or stand alone where no URL is given; a service's file stands between the two.
    /// - Parameters:
    ///   - yaml: nil when there is no file.
    ///   - name: the file's name in messages.
    ///   - files: reads a secret's file.
    /// - Throws: `ConfigurationProblems` with every problem there is.
    static func decode(
        yaml: String?, name: String = "healthd.yaml", environment: [String: String], mode: Mode = .configured,
        files: @escaping (String) -> FileText
    ) throws(ConfigurationProblems) -> Configuration {
        var file: SettingFile?
        if let yaml {
            // Without a tree there is nothing to read: this one problem hides the others.
            do { file = try SettingFile(name: name, yaml: yaml) } catch { throw ConfigurationProblems([error]) }
        }
        var reader = SettingReader(file: file, environment: environment)
        let secrets = SecretFiles(credentialsDirectory: environment["CREDENTIALS_DIRECTORY"], read: files)
        let (database, connectTimeout) = readDatabase(environment, mode, secrets, &reader)
        let configuration = Configuration(
            listen: readListen(&reader),
            externalURL: reader.value(
                "external-url", expected: "http[s]://HOST[:PORT][/PATH], without a user or a password", ExternalURL.init(setting:)),
            state: readState(environment, &reader),
            database: database,
            pool: readPool(mode, connectTimeout: connectTimeout ?? .seconds(5), &reader),
            cache: readCache(environment, mode, secrets, &reader),
            tasks: readTasks(&reader),
            probes: readProbes(&reader),
            rules: Rule.standard.map { $0.read(from: &reader) },
            receivers: readReceivers(secrets, &reader))
        readTargets(&reader)
        reader.finish(foreign: scriptVariables)
        guard reader.problems.isEmpty else { throw ConfigurationProblems(reader.problems) }
        return configuration
    }

    /// The one setting the verbs that talk to a running daemon need: they must work while the rest of the file is being mended.
    static func decodeListen(yaml: String?, name: String = "healthd.yaml", environment: [String: String])
        throws(ConfigurationProblems) -> ListenAddress
    {
        var file: SettingFile?
        if let yaml, environment["HEALTHD_LISTEN"] == nil {
            do { file = try SettingFile(name: name, yaml: yaml) } catch {
                // The daemon runs on what the file said before somebody slipped.
                guard let line = listenAlone(in: yaml), let part = try? SettingFile(name: name, yaml: line) else { throw ConfigurationProblems([error]) }
                file = part
            }
        }
        var reader = SettingReader(file: file, environment: environment)
        let listen = readListen(&reader)
        guard reader.problems.isEmpty else { throw ConfigurationProblems(reader.problems) }
        return listen
    }

    /// What a text that is no YAML says of `listen`: its line at its place, nothing where it does not have the word, nil where there is no telling.
    private static func listenAlone(in text: String) -> String? {
        guard text.contains("listen") else { return "" }
        let lines = text[...].pieces(between: "\n")
        let places = lines.indices.filter { lines[$0].hasPrefix("listen:") }
        guard places.count == 1, let place = places.first else { return nil }
        return String(repeating: "\n", count: place) + String(lines[place])
    }
}

// MARK: - The parts, in the order of the file

extension Configuration {
    private static func readListen(_ reader: inout SettingReader) -> ListenAddress {
        reader.value("listen", expected: "HOST:PORT, such as 127.0.0.1:9798", ListenAddress.init(setting:))
            ?? ListenAddress(host: "127.0.0.1", port: 9798)
    }

    private static func readState(_ environment: [String: String], _ reader: inout SettingReader) -> String {
        let set = reader.value("state", expected: "the absolute path of a folder") { text in
            text.hasPrefix("/") && !text.unicodeScalars.contains { $0.value < 0x20 } ? text : nil
        }
        // systemd names the unit's StateDirectory= here; with several, the first is ours.
        let given = environment["STATE_DIRECTORY"]?.split(separator: ":").first.map(String.init)
        let path = set ?? given ?? "/var/lib/healthd"
        return "/" + path.split(separator: "/").joined(separator: "/")
    }

    private static func readPool(_ mode: Mode, connectTimeout: Duration, _ reader: inout SettingReader) -> PoolConfiguration {
        let most = reader.integer("database.pool.max", in: 1...1_000, default: mode == .embedded ? 10 : 20)
        let least = reader.integer("database.pool.min", in: 0...1_000, default: Swift.min(2, most))
        if least > most, reader.origin(of: "database.pool.min") != .unset {
            reader.report(
                "database.pool.min", reader.origin(of: "database.pool.min"),
                "is \(least); expected at most database.pool.max, which is \(most)")
        }
        return PoolConfiguration(
            // A contradiction is reported above; the value must exist until the list is complete.
            max: most, min: Swift.min(least, most),
            idleTimeout: reader.duration("database.pool.idle", in: .seconds(1) ... .seconds(86_400), default: .seconds(30)),
            connectTimeout: reader.duration(
                "database.pool.connect", in: .milliseconds(100) ... .seconds(300), default: connectTimeout),
            deadline: reader.duration("database.pool.deadline", in: .milliseconds(10) ... .seconds(600), default: .seconds(2)),
            lifetime: reader.value("database.pool.lifetime", expected: "0s (never) or a time from 10s to 7d, such as 30m") { text in
                Duration(setting: text).flatMap { $0 == .zero || (.seconds(10) ... .seconds(7 * 86_400)).contains($0) ? $0 : nil }
            } ?? .seconds(1_800),
            waiters: reader.integer("database.pool.waiters", in: 1...100_000, default: 200),
            reserved: reader.integer("database.pool.reserved", in: 0...10, default: 1),
            batching: reader.flag("database.pool.batching", default: true),
            prepared: reader.value("database.pool.prepared", expected: "auto, on or off", PreparedStatements.init(rawValue:)) ?? .auto)
    }

    private static func readCache(
        _ environment: [String: String], _ mode: Mode, _ secrets: SecretFiles, _ reader: inout SettingReader
    ) -> Cache {
        var source = reader.text("cache.url", expected: "redis://HOST:PORT")
        if case .environment? = source?.origin {
        } else if let url = environment["REDIS_URL"] {
            source = SettingReader.Found(text: url, origin: .environment("REDIS_URL"))
        }
        source = source.map { SettingReader.Found(text: withoutLineEnd($0.text), origin: $0.origin) }
        var choice: CacheChoice = mode == .embedded ? .embedded : .memoryOnly
        var given: RedisEndpoint?
        if let source {
            do throws(URLComplaint) {
                guard !source.text.isEmpty else { throw URLComplaint("is empty; expected redis://HOST:PORT") }
                let endpoint = try Self.redis(source.text)
                if case .file = source.origin, endpoint.password?.reveal().isEmpty == false { throw URLComplaint(passwordInFile("cache")) }
                given = endpoint
            } catch {
                reader.report("cache.url", source.origin, error.text)
            }
        }
        let hasFile = reader.hasPasswordFile("cache", for: source, whichBringsOne: given?.password != nil)
        let password = hasFile ? secrets.read("cache.password-file", what: "the password of Redis", &reader) : nil
        if var endpoint = given, let source {
            if let password { endpoint.password = password }
            if endpoint.user != nil, endpoint.password == nil, !hasFile {
                reader.report(
                    "cache.url", source.origin,
                    "names a user and no password; name its file in cache.password-file, or write USER:@ for a user without one and "
                        + ":PASSWORD@ for a password without a user")
            }
            choice = .redis(endpoint)
        }
        return Cache(
            choice: choice,
            ttl: reader.duration("cache.ttl", in: .seconds(1) ... .seconds(7 * 86_400), default: .seconds(300)),
            memory: reader.byteCount("cache.memory", in: .mebibytes(1) ... .mebibytes(65_536), default: .mebibytes(32)),
            deadline: reader.duration("cache.deadline", in: .milliseconds(1) ... .seconds(10), default: .milliseconds(50)))
    }

    private static func redis(_ url: String) throws(URLComplaint) -> RedisEndpoint {
        do {
            return try RedisEndpoint(url: url)
        } catch {
            throw URLComplaint("is not understood: \(error)")
        }
    }

    private static func readTasks(_ reader: inout SettingReader) -> Tasks {
        let concurrency = reader.integer("tasks.concurrency", in: 1...10_000, default: 50)
        let perWorkspace = reader.integer("tasks.per-workspace", in: 1...10_000, default: min(8, concurrency))
        if perWorkspace > concurrency {
            reader.report(
                "tasks.per-workspace", reader.origin(of: "tasks.per-workspace"),
                "is \(perWorkspace); expected at most tasks.concurrency, which is \(concurrency)")
        }
        return Tasks(concurrency: concurrency, perWorkspace: perWorkspace)
    }

    private static func readProbes(_ reader: inout SettingReader) -> Probing {
        let interval = reader.duration("probes.interval", in: .milliseconds(100) ... .seconds(3_600), default: .seconds(1))
        let timeout = reader.duration(
            "probes.timeout", in: .milliseconds(10) ... .seconds(600), default: min(.milliseconds(500), interval))
        if timeout > interval {
            reader.report(
                "probes.timeout", reader.origin(of: "probes.timeout"),
                "is \(timeout.settingText); expected at most probes.interval, which is \(interval.settingText)")
        }
        return Probing(interval: interval, timeout: timeout)
    }

    private static func readReceivers(_ secrets: SecretFiles, _ reader: inout SettingReader) -> [Receiver] {
        let shape = "a list of receivers, each with a name and a webhook"
        var receivers: [Receiver] = []
        let count = reader.count("receivers", expected: shape)
        if count > 20 {
            reader.report("receivers", reader.origin(of: "receivers[0]"), "has \(count) elements; expected at most 20")
        }
        for number in 0..<min(count, 20) {
            let path = "receivers[\(number)]"
            guard reader.isGroup(path, expected: "{ name: …, webhook: … }") else { continue }
            let name = reader.value(
                "\(path).name", expected: "letters, digits, dots, hyphens and underscores, at most 64", Self.receiverName)
            let webhook = reader.text("\(path).webhook", expected: "http://… or https://…")?.text
            let secret = secrets.read("\(path).secret-file", what: "the signing secret of this receiver", &reader)
            for key in ["name", "webhook"] where reader.origin(of: "\(path).\(key)") == .unset {
                reader.report("\(path).\(key)", reader.origin(of: path), "is missing")
            }
            if let name, receivers.contains(where: { $0.name == name }) {
                reader.report(
                    "\(path).name", reader.origin(of: "\(path).name"),
                    "is \"\(name)\", as another receiver's; expected each name once")
            }
            guard let name, let webhook else { continue }
            do {
                receivers.append(try Receiver(name: name, url: webhook, secrets: secret.map { [$0] } ?? []))
            } catch {
                reader.report("\(path).\(error.setting.rawValue)", reader.origin(of: "\(path).\(error.setting.rawValue)"), error.text)
            }
        }
        return receivers
    }

    private static func receiverName(_ text: String) -> String? {
        let isGood = text.utf8.count <= 64 && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
        return isGood ? text : nil
    }

    private static func readTargets(_ reader: inout SettingReader) {
        guard reader.count("targets", expected: "an empty list") > 0 else { return }
        reader.dismiss("targets")
        reader.report(
            "targets", reader.origin(of: "targets[0]"),
            "is not empty; watching other services comes with a later version, leave it out or write []")
    }
}
