import Testing

@testable import healthd

/// The one setting that the verbs need which ask a running daemon.
@Suite struct `The listen address alone` {
    @Test(arguments: [
        ("listen: 10.0.0.1:5 # ours\nrules: [", "10.0.0.1:5"), ("rules: [\r\n\r\nlisten: \"10.0.0.1:5\"\r\n", "10.0.0.1:5"), ("[", "127.0.0.1:9798"),
        ("database:\n\turl: x\n", "127.0.0.1:9798"),
    ])
    func `is readable while the file is no YAML`(yaml: String, address: String) throws {
        #expect(try Configuration.decodeListen(yaml: yaml, environment: [:]).description == address)
    }

    @Test(arguments: [
        ("{ listen: 10.0.0.1:5", "healthd.yaml:"), ("listen: 10.0.0.1:5\nlisten: 10.0.0.2:5", "healthd.yaml:"), ("rules: [\nlisten: nowhere", "healthd.yaml:2: listen is \"nowhere\"; expected HOST:PORT"),
    ])
    func `is not guessed`(yaml: String, problem: String) {
        let error = #expect(throws: ConfigurationProblems.self) { try Configuration.decodeListen(yaml: yaml, environment: [:]) }
        #expect(error?.description.hasPrefix(problem) == true)
        let end = ProgramEnd(AddressUnknown(problems: error ?? ConfigurationProblems([ConfigurationProblem(key: "", origin: .unset, text: "")])))
        #expect(end.status == 78 && end.message.contains(problem) && end.message.hasSuffix("--address HOST:PORT asks without it."))
    }

    @Test func `needs no file where the environment has it`() throws {
        let source = ConfigurationSource(path: "/nowhere/healthd.yaml", environment: ["HEALTHD_LISTEN": "10.0.0.1:5"], mode: .configured)
        #expect(try source.loadListen().description == "10.0.0.1:5")
        #expect(throws: ConfigurationProblems.self) { try ConfigurationSource(path: "/nowhere/healthd.yaml", environment: [:], mode: .configured).loadListen() }
    }

    @Test(arguments: [
        ("", "--config is empty: the configuration file does not exist"),
        ("/nowhere/me@here=x/healthd.yaml", "/nowhere/me@here=x/healthd.yaml: the configuration file does not exist"),
        ("me:geheim@h", "an address, not shown here because it may hold a secret: the configuration file does not exist"),
    ])
    func `is not found without the file, which is named unless it may be a secret`(path: String, problem: String) {
        let error = #expect(throws: ConfigurationProblems.self) { try ConfigurationSource(path: path, environment: [:], mode: .configured).loadListen() }
        #expect(error?.description == problem)
    }

    @Test func `is readable while the rest of the file is wrong`() throws {
        #expect(
            try Configuration.decodeListen(yaml: "listen: 0.0.0.0:1234\nnonsense: 1", environment: [:]).reachable.description
                == "127.0.0.1:1234")
        #expect(
            try Configuration.decodeListen(yaml: "[", environment: ["HEALTHD_LISTEN": "[::]:1"]).reachable.description == "[::1]:1")
    }
}
