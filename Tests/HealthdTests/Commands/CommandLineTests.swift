import Probes
import TestServers
import Testing

@testable import AppCore
@testable import Vitals
@testable import healthd

/// What a person gets who asks for help, or calls a verb wrongly: text, stream and status, without a process being started.
@Suite struct CommandLineTests {
    private static let verbs = ["run", "check-config", "migrate", "seed", "status", "holders", "alerts", "reload", "version"]

    /// Names of ours and of Swift's that tell a person nothing.
    private static let internalNames = ["Command", "Swift.", "Error(", "Optional(", "parserError", "NIO", "HTTPClient", "DecodingError", "self.", "var "]

    private func expectReadable(_ end: ProgramEnd, _ what: String) {
        for line in end.message.split(separator: "\n") {
            #expect(line.count <= 80, "\(what): \(line.count) columns: \(line)")
            #expect(line.last != " ", "\(what): \(line)")
        }
        for name in Self.internalNames { #expect(!end.message.contains(name), "\(what): \(name) in: \(end.message)") }
    }

    @Test(arguments: [
        (DeliveryAnswer.accepted(status: 204), "accepted"),
        (.tryAgain(.unreachable, reason: "connection refused", after: nil), "not accepted this time: connection refused"),
        (.tryAgain(.httpError, reason: "HTTP 503", after: .seconds(20)), "not accepted this time, and asked for again in 20 s: HTTP 503"),
        (.refused(reason: "HTTP 404 Not Found"), "refused: HTTP 404 Not Found"),
        (.gone(reason: "HTTP 410 Gone"), "refused for good: HTTP 410 Gone"),
    ])
    func `what a receiver answered is told in words`(answer: DeliveryAnswer, words: String) {
        #expect(answer.words == words)
    }

    @Test(
        arguments: [["--help"], ["-h"], ["help"]] + verbs.flatMap { [["help", $0], [$0, "--help"], [$0, "-h"]] } + [
            ["alerts", "test", "--help"], ["help", "alerts", "test"], ["migrate", "status", "-h"], ["alerts", "list", "--help"], ["run", "--demo", "--help"],
        ])
    func `help is what was asked for: standard output, status 0`(arguments: [String]) async {
        let end = await Healthd.run(arguments)
        #expect(end.status == 0 && end.stream == .output)
        #expect(end.message.contains("USAGE: healthd"))
        let verb = arguments.first { Self.verbs.contains($0) }
        #expect(end.message.contains("USAGE: healthd \(verb ?? "<subcommand>")"))
        expectReadable(end, "\(arguments)")
    }

    @Test func `the first page of help names every verb, and how a run ends`() async {
        let text = await Healthd.run(["--help"]).message
        for verb in Self.verbs { #expect(text.contains("\n  \(verb) ")) }
        for word in ["Exit status:", "64", "70", "78", "HEALTHD_"] { #expect(text.contains(word)) }
    }

    @Test func `the version is one line on standard output`() async {
        #expect(await Healthd.run(["--version"]) == ProgramEnd(status: 0, message: ProgramVersion.line, stream: .output))
    }

    @Test(arguments: [
        ([], ["no verb is given", "USAGE: healthd <subcommand>", "check-config"]),
        (["statsu"], ["there is no verb \"statsu\"; did you mean \"status\"?", "Verbs: run, check-config", "healthd --help"]),
        (["chek-config", "--config", "x"], ["did you mean \"check-config\"?"]),
        (["Status"], ["did you mean \"status\"?"]),
        (["frobnicate"], ["there is no verb \"frobnicate\"", "Verbs: run"]),
        ([""], ["there is no verb \"\"", "Verbs: run"]),
        (["help", "statsu"], ["did you mean \"status\"?"]),
        (["help", "alerts", "tset"], ["there is no verb \"tset\" of \"healthd alerts\"; did you mean \"test\"?"]),
        (["alerts", "tset", "oncall"], ["there is no verb \"tset\" of \"healthd alerts\"; did you mean \"test\"?", "Verbs: list, test", "healthd alerts --help"]),
        (["migrate", "down"], ["there is no verb \"down\" of \"healthd migrate\"", "Verbs: up, status"]),
        (["status", "--jsno"], ["unknown option '--jsno'. Did you mean '--json'?", "Usage: healthd status", "healthd status --help"]),
        (["run", "--embeded"], ["Did you mean '--embedded'?"]),
        (["--jsno", "status"], ["unknown option '--jsno'"]),
        (["-x"], ["unknown option '-x'"]),
        (["status", "-x"], ["unknown option '-x'"]),
        (["alerts", "test"], ["missing expected argument '<receiver>'", "<receiver> The receiver's name"]),
        (["status", "--config"], ["missing value for '--config <file>'"]),
        (["status", "surplus"], ["unexpected argument 'surplus'"]),
        (["alerts", "test", "oncall", "more", "and more"], ["2 unexpected arguments: 'more', 'and more'"]),
        (["status", "--json=yes"], ["'--json' does not take any value"]),
        (["status", "--address", "nowhere"], ["the value 'nowhere' is invalid for '--address <host:port>'", "Where the daemon listens"]),
        (["status", "--address", "h:99999"], ["'h:99999' is invalid"]),
        (["seed", "--scale", "enormous"], ["the value 'enormous' is invalid for '--scale <scale>'", "small"]),
        (["--generate-completion-script", "csh"], ["can't generate completion scripts for 'csh'", "bash"]),
    ] as [([String], [String])])
    func `wrong usage says what is wrong and how it is right: standard error, status 64`(arguments: [String], words: [String]) async {
        let end = await Healthd.run(arguments)
        #expect(end.status == 64 && end.stream == .error, "\(end)")
        #expect(end.message.hasPrefix("healthd: "))
        let text = end.message.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        for word in words { #expect(text.contains(word), "no \(word) in: \(end.message)") }
        expectReadable(end, "\(arguments)")
    }

    @Test func `no verb is proposed that is not near`() async {
        #expect(await Healthd.run(["up"]).message.hasPrefix("healthd: there is no verb \"up\"\nVerbs: "))
    }

    @Test(arguments: [
        (["postgres://app:geheim@h/db"], "the address of a database, which belongs in database.url or DATABASE_URL, stands where a verb is expected"),
        (["help", "redis://:geheim@h"], "the address of a Redis, which belongs in cache.url or REDIS_URL, stands where a verb is expected"),
        (["alerts", "https://hooks.example.org/geheim"], "an address, not shown here because it may hold a secret, stands where a verb of \"healthd alerts\" is expected"),
        (["migrate", "up", "postgres://app:geheim@h/db"], "unexpected argument (the address of a database, which belongs in database.url or DATABASE_URL)"),
        (["migrate", "up", "host=h password=geheim", "x"], "2 unexpected arguments: (a connection string, which belongs in database.url or DATABASE_URL), 'x'"),
        (["migrate", "up", "app@h", "app@h/geheim"], "2 unexpected arguments: (an address, not shown here because it may hold a secret), (an address,"),
        (["status", "--address", "app:ge'heim@h"], "the value (an address, not shown here because it may hold a secret) is invalid for '--address <host:port>'"),
        (["status", "--address=app:geheim@h"], "the value (an address, not shown here because it may hold a secret) is invalid for '--address"),
        (["status", "--json=postgres://app:geheim@h"], "'--json' does not take any value, but (the address of a database"),
        (["status", "--postgres://app:geheim@h/db"], "unknown option (an address, not shown here because it may hold a secret)"),
        (["status", "---postgres://app:geheim@h/db"], "(an address, not shown here because it may hold a secret)"),
        (["status", "--url=postgres://app:geheim@h/db"], "unknown option '--url'"),
        (["seed", "--scale", "whsec_geheim"], "the value (a signing secret, which belongs in a file that secret-file names) is invalid"),
        (["--generate-completion-script", "postgres://app:geheim@h/db"], "(the address of a database"),
    ] as [([String], String)])
    func `a word that may be a secret is told by its kind`(arguments: [String], words: String) async {
        let end = await Healthd.run(arguments)
        #expect(end.status == 64 && end.stream == .error, "\(end)")
        let text = end.message.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        #expect(text.contains(words), "\(end.message)")
        #expect(!text.contains("geheim") && !text.contains("heim@"), "\(end.message)")
    }

    @Test func `a reload that gets no answer has reached a daemon only if that one lives`() async throws {
        let hanging = try FakeServer(.silent)
        let silent = await Healthd.run(["reload", "--address", "127.0.0.1:\(hanging.port)"])
        #expect(silent.status == 1 && silent.message.contains("healthd does not answer on 127.0.0.1:\(hanging.port): nothing within 2 s"), "\(silent)")
        let busy = try FakeServer(.answersLaterOnes(Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8)))
        #expect(await Healthd.run(["reload", "--address", "127.0.0.1:\(busy.port)"]) == .well)
    }

    @Test(arguments: [
        ("https://hooks.example.org/geheim", "an address, not shown here because it may hold a secret, stands where the name of a receiver is expected; configured: a, b"),
        ("oncal", "there is no receiver \"oncal\"; configured: a, b"),
    ])
    func `a receiver's address in the place of its name is told by its kind`(word: String, complaint: String) {
        #expect(AlertsCommand.Test.complaint(about: word, among: ["b", "a"]) == complaint)
    }

    @Test(arguments: [("bash", "complete -o filenames -F"), ("zsh", "#compdef healthd"), ("fish", "complete -c 'healthd'")])
    func `shells get their completions`(shell: String, words: String) async {
        let end = await Healthd.run(["--generate-completion-script", shell])
        #expect(end.status == 0 && end.stream == .output)
        #expect(end.message.contains(words))
        for verb in Self.verbs { #expect(end.message.contains(verb)) }
    }

    @Test(arguments: [
        "healthd: short",
        "healthd: the value 'a very long value that somebody gave' is invalid for '--address <host:port>' and more",
        "  See 'healthd alerts test --help' for more information, of which there is so much that a line is too short.",
        "healthd: \(String(repeating: "x", count: 100)) and so on",
    ])
    func `a line is broken at blanks and loses no word`(line: String) {
        let lines = UsageText.wrapped(line).split(separator: "\n")
        #expect(lines.joined(separator: " ").split(separator: " ") == line.split(separator: " "))
        for part in lines where part.split(separator: " ").count > 1 { #expect(part.count <= 80 || part.split(separator: " ").contains { $0.count > 60 }) }
        #expect(lines.first?.prefix { $0 == " " }.count == line.prefix { $0 == " " }.count)
    }

    @Test func `what an operator can mend is no error of the program`() {
        let errors: [(any Error, Int32, String)] = [
            (StateFolderError("the state folder /x cannot be made"), 1, "/x"),
            (EmbeddedServerError("no PostgreSQL is installed"), 1, "PostgreSQL"),
            (EventLoopError(call: "epoll_create1", errno: 24), 1, "LimitNOFILE="),
            (PostgresError.connectFailed("connection refused", sqlState: nil), 1, "refused"),
            (SchemaError.unknown(file: "9999.sql"), 1, "9999.sql"),
            (CheckFailed(), 1, ""),
            (ConfigurationProblems([ConfigurationProblem(key: "listen", origin: .unset, text: "is wrong")]), 78, "the configuration has a problem"),
            (ReloadRefused(problems: "listen: is wrong"), 78, "listen: is wrong"),
        ]
        for (error, status, words) in errors {
            let end = ProgramEnd(error)
            #expect(end.status == status && end.stream == .error, "\(error)")
            #expect(end.message.contains(words) || words.isEmpty && end.message.isEmpty)
        }
        struct Unforeseen: Error {}
        #expect(ProgramEnd(Unforeseen()).status == 70)
        #expect(ProgramEnd(Unforeseen()).message.contains("please report it"))
    }
}
