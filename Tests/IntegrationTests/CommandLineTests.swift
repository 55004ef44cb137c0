import Blackbox
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// The program as a person at a shell meets it: text, stream, status.
    @Suite struct CommandLineTests {
        @Test(arguments: [["--help"], ["-h"], ["help"], ["run", "--help"], ["status", "-h"], ["help", "run"], ["alerts", "test", "--help"]])
        func `help goes to standard output`(words: [String]) async throws {
            let call = try await Healthd.call(words)
            #expect(call.status == 0 && call.errors == "", "\(call)")
            #expect(call.output.contains("USAGE: healthd"))
            for line in call.output.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
        }

        @Test(arguments: [["--version"], ["version"]])
        func `the version goes to standard output`(words: [String]) async throws {
            let call = try await Healthd.call(words)
            #expect(call.status == 0 && call.errors == "")
            #expect(call.output.hasPrefix("healthd ") && call.output.hasSuffix("\n"))
        }

        @Test(arguments: [
            ([], "no verb"), (["statsu"], "did you mean \"status\"?"), (["status", "--jsno"], "Did you mean '--json'?"),
            (["alerts", "test"], "<receiver>"), (["status", "surplus"], "surplus"), (["status", "--address", "x"], "--address"),
        ] as [([String], String)])
        func `wrong usage goes to standard error`(words: [String], said: String) async throws {
            let call = try await Healthd.call(words)
            #expect(call.status == 64 && call.output == "", "\(call)")
            #expect(call.errors.hasPrefix("healthd: ") && call.errors.contains(said))
            for line in call.errors.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
        }

        @Test(arguments: ["bash", "zsh", "fish"])
        func `a shell gets its completions`(shell: String) async throws {
            let call = try await Healthd.call(["--generate-completion-script", shell])
            #expect(call.status == 0 && call.errors == "")
            #expect(call.output.contains("check-config"))
        }

        @Test(arguments: [["--help"], ["--generate-completion-script", "bash"], ["version"], ["check-config"]])
        func `a reader that has read enough ends nothing with a signal`(words: [String]) async throws {
            let call = try await Healthd.call(words, to: .pipe(into: "true"), environment: ["DATABASE_URL": "postgres:///app"])
            #expect(call.status == 0 && call.errors == "", "\(call)")
        }

        // The last is longer than any buffer.
        @Test(arguments: [["--help"], ["version"], ["--generate-completion-script", "bash"]])
        func `output that cannot be written is no success`(words: [String]) async throws {
            let call = try await Healthd.call(words, to: .path("/dev/full"))
            #expect(call.status == 1 && call.errors.contains("standard output cannot be written: No space left on device"), "\(call)")
        }

        @Test(arguments: [["rnu"], ["run", "--nope"]])
        func `wrong usage ends though nobody reads why`(words: [String]) async throws {
            let folder = try TemporaryFolder("usage")
            let fill = "dd if=/dev/zero bs=4096 count=16 2>/dev/null; exec \"$0\" \"$@\""
            let began = MonotonicInstant.now()
            let program = try Program(
                ["sh", "-c", fill, Healthd.binary] + words, log: "\(folder.path)/log", reader: .stalled)
            #expect(try await program.ended() == 64)
            #expect(MonotonicInstant.now() - began < promise(.seconds(10), "its last words wait for five seconds at most"))
        }

        @Test(arguments: [["status"], ["holders"], ["alerts"], ["alerts", "list", "--json"], ["reload"], ["reload", "--wait"]])
        func `nobody there is said with the address and what to do`(words: [String]) async throws {
            let port = try unusedPort()
            let call = try await Healthd.call(words + ["--address", "127.0.0.1:\(port)"])
            #expect(call.status == 1 && call.output == "", "\(call)")
            for word in ["healthd does not answer on 127.0.0.1:\(port): connection refused", "systemctl status healthd", "--address"] {
                #expect(call.errors.contains(word), "no \(word) in: \(call.errors)")
            }
        }

        @Test func `a stranger on the port is told from a daemon, in words`() async throws {
            let strangers: [(FakeServer, String)] = [
                (try FakeServer(answering: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "is not this version of healthd: its answer lacks \"status\""),
                (try FakeServer(answering: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "its answer is not JSON"),
                (try FakeServer(answering: "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"), "answers 404: nope"),
                (try FakeServer(answering: "220 smtp.example.org ESMTP\r\n"), "does not speak HTTP"),
                (try FakeServer(answering: ""), "closed the connection"),
                (try FakeServer(.resets), "reset"),
            ]
            for (stranger, words) in strangers {
                let call = try await Healthd.call(["status", "--address", "127.0.0.1:\(stranger.port)"])
                #expect(call.status == 1 && call.output == "", "\(call)")
                #expect(call.errors.contains(words) && call.errors.contains("127.0.0.1:\(stranger.port)"), "no \(words) in: \(call.errors)")
                for name in ["NIO", "HTTPParserError", "HTTPClientError", "DecodingError", "CodingKey", "errno"] { #expect(!call.errors.contains(name), "\(call.errors)") }
            }
        }

        @Test func `a state folder that cannot be made is named, and is no error of the program`() async throws {
            let folder = try TemporaryFolder("words")
            let file = try folder.write("no folder", to: "file")
            let settings = try folder.write(
                "listen: 127.0.0.1:\(try unusedPort())\ndatabase: { url: \"postgres:///app\" }\nstate: \(file)/state\n", to: "healthd.yaml")
            let call = try await Healthd.call(["run", "--config", settings])
            #expect(call.status == 1, "\(call)")
            #expect(call.errors.contains("\(file)/state") && call.errors.contains("HEALTHD_STATE"), "\(call)")
        }
    }
}
