import FoundationEssentials
import Testing

/// The rules of this tree that a compiler does not know. Each failure names the places.
@Suite struct TidyTests {
    let sources: Tree
    let tests: Tree

    init() throws {
        sources = try Tree("Sources")
        tests = try Tree("Tests")
    }

    @Test func `the tree is read`() {
        #expect(sources.files.contains { $0.path == "Sources/Vitals/TimeSource.swift" })
        #expect(tests.files.contains { $0.path == "Tests/TidyTests/Tree.swift" })
    }

    @Test func `every task has a parent`() {
        #expect(sources.places(of: /\bTask(\.detached)?\s*(\([^)]*\)\s*)?\{/) == [])
        #expect(sources.places(of: /\bTask\.detached\b/) == [])
    }

    @Test(arguments: ["Task { work() }", "Task.detached { work() }", "let t = Task(priority: .high) { work() }"])
    func `a task without a parent would be found`(line: String) {
        #expect(line.contains(/\bTask(\.detached)?\s*(\([^)]*\)\s*)?\{/))
        #expect(!"group.addTask { work() }".contains(/\bTask(\.detached)?\s*(\([^)]*\)\s*)?\{/))
    }

    @Test func `no task group collects tuples, which the optimiser loses`() {
        // swiftc 6.3.1; what it takes is said at Resolution in PostgresConnector.swift. The tests are optimised, too.
        let groups = /TaskGroup\(of: \(/
        #expect((sources.places(of: groups) + tests.places(of: groups)).filter { !$0.hasPrefix("Tests/TidyTests/") } == [])
    }

    @Test func `what waits for so long does so by the monotonic clock`() {
        // The waits of Dispatch go by the wall clock on Linux, its timers do not; Latch is for waiting.
        #expect(sources.places(of: /\.wait\((wallTimeout|timeout):/) == [])
    }

    @Test func `what looks from outside never starts a debug build`() throws {
        let scripts = try Tree("scripts", extensions: ["py", "sh"])
        #expect(!scripts.files.isEmpty)
        #expect((tests.places(of: /build\/debug|debug\/healthd/) + scripts.places(of: /build\/debug|debug\/healthd/)).filter { !$0.hasPrefix("Tests/TidyTests/") } == [])
    }

    @Test func `nothing is forced in the sources`() {
        #expect(sources.places(of: /\btry!|\bfatalError\(|\bas! |nonisolated\(unsafe\)/) == [])
    }

    @Test func `an unchecked Sendable says why it is one`() {
        for file in sources.files {
            for (index, line) in file.lines.enumerated() where line.contains("@unchecked Sendable") && !line.drop(while: \.isWhitespace).hasPrefix("//") {
                let above = file.lines[max(0, index - 6)..<index]
                #expect(above.contains { $0.contains("//") } || line.contains("//"), "\(file.path):\(index + 1)")
            }
        }
    }

    @Test(arguments: ["Vitals", "Probes", "AppCore", "healthd"])
    func `what a module imports is what Package.swift says it depends on`(target: String) throws {
        let package = try String(contentsOfFile: "\(Tree.root)/Package.swift", encoding: .utf8)
        let own = try #require(package.split(separator: "name: \"\(target)\",\n").last?.split(separator: "swiftSettings").first)
        let names = Set(own.matches(of: /"([A-Za-z0-9]+)"/).map { String($0.output.1) })
        let ofTheToolchain: Set = ["Glibc", "Dispatch", "Synchronization", "FoundationEssentials"]
        let imported = sources.files.filter { $0.path.hasPrefix("Sources/\(target)/") }.flatMap { file in
            file.lines.compactMap { $0.firstMatch(of: /^\s*(?:@testable |public |package |private )?import (?:struct |class |enum |func )?([A-Za-z0-9]+)/)?.output.1 }.map(String.init)
        }
        #expect(imported.contains("Vitals") || target == "Vitals")
        #expect(Set(imported).subtracting(names).subtracting(ofTheToolchain) == [])
    }

    @Test func `Foundation stays out, for its size`() {
        #expect(sources.importers(of: "Foundation") == [])
        #expect(tests.importers(of: "Foundation") == [])
    }

    @Test(arguments: ["CLibpq", "CHiredis", "CSystemd", "CZlib", "COpenSSL", "CMigrations", "CWeb"])
    func `a C library has one owner`(module: String) {
        #expect(sources.importers(of: module).count == 1, "imported by \(sources.importers(of: module))")
    }

    @Test func `the kernel's own calls are made by the event loop and the clock alone`() {
        let importers = sources.importers(of: "CLinux")
        #expect(!importers.isEmpty)
        #expect(importers.filter { !$0.hasPrefix("Sources/AppCore/EventLoop/") } == ["Sources/Vitals/MonotonicInstant.swift"])
    }

    @Test func `a child inherits nothing of our environment`() {
        // NOTIFY_SOCKET stays in it, because sd_notify() looks there: a child that had it could speak in our name.
        #expect(sources.places(of: /\benvironment: \.inherit\b|\bposix_spawnp?\(|\bexecvp?\(|\bsystem\(|\bpopen\(/) == [])
        let starts = sources.places(of: /\bSubprocess\.run\(/)
        #expect(!starts.isEmpty && starts.count == sources.places(of: /\benvironment: \.custom\(/).count, "\(starts)")
    }

    @Test func `the watcher and the watched do not know each other`() {
        let path = { (folder: String) in { (file: String) in file.hasPrefix("Sources/\(folder)/") } }
        #expect(sources.importers(of: "AppCore").filter(path("Probes")) == [])
        #expect(sources.importers(of: "Probes").filter(path("AppCore")) == [])
        for module in ["AppCore", "Probes", "healthd"] {
            #expect(sources.importers(of: module).filter(path("Vitals")) == [], "Vitals is a leaf")
        }
        #expect(sources.importers(of: "healthd") == [])
    }

    @Test func `no test sleeps`() {
        #expect(tests.places(of: /\bTask\.sleep\b|\busleep\(|\bnanosleep\(/) == [])
        // Waiting on a real process goes through one helper, with a deadline.
        #expect(tests.places(of: /SystemTime\(\)\.sleep/).filter { !$0.hasPrefix("Tests/Blackbox/Eventually.swift") } == [])
    }

    @Test func `no test waits without a limit`() {
        // What may never come about is waited for with `until`, which has one.
        let allowed = ["Tests/TestServers/Until.swift", "Tests/TidyTests/TidyTests.swift"]
        #expect(tests.files.filter { !allowed.contains($0.path) }.flatMap(\.spins) == [])
    }

    @Test(
        arguments: [
            ("while !ready { await Task.yield() }", true),
            ("while true {\n    look()\n    await Task.yield()\n}", true),
            ("repeat {\n    await Task.yield()\n} while !ready", true),
            ("while (try? await write()) != nil {}", true),
            ("for _ in 0..<20 { await Task.yield() }", false),
            ("while let next = queue.popFirst() {\n    use(next)\n}\nawait Task.yield()", false),
            ("while waitpid(pid, nil, 0) < 0 && errno == EINTR {}", false),
        ])
    func `a wait without a limit would be found`(text: String, isFound: Bool) {
        #expect(Tree.File(path: "a", text: text).spins == (isFound ? ["a:1"] : []))
    }

    @Test func `no test is switched off`() {
        #expect(tests.places(of: /\.disabled\(|withKnownIssue/).filter { !$0.hasPrefix("Tests/TidyTests/") } == [])
        // Only what takes root may be left out, and says so.
        let conditional = tests.places(of: /\.enabled\(if:/).filter { !$0.hasPrefix("Tests/TidyTests/") }
        #expect(conditional.filter { !$0.hasPrefix("Tests/SystemdTests/") } == [])
    }

    /// A column that is added changes what such a statement answers, and with that makes its plan stale wherever it is prepared.
    private static var starOfColumns: some RegexComponent {
        /(?i)\b(SELECT|RETURNING)\s+(DISTINCT\s+)?(\w+\.)?\*|,\s*(\w+\.)?\*(\s+FROM\b|,)|\b(SELECT|RETURNING)\b.*[\s,]\w+\.\*|^\s+\w+\.\*,/
    }

    @Test func `D14: every statement names its columns`() throws {
        let migrations = try Tree("migrations", extensions: ["sql"])
        #expect(!migrations.files.isEmpty)
        #expect(sources.places(of: Self.starOfColumns) + migrations.places(of: Self.starOfColumns) == [])
    }

    @Test(
        arguments: [
            ("SELECT * FROM t", true), ("UPDATE t SET a = 1 RETURNING *)", true), ("select distinct t.* from t", true), ("SELECT $1, * FROM t", true),
            ("    RETURNING t.*),", true), ("SELECT a.id, b.*, c.id FROM a", true), ("               a.*, b.id", true), ("SELECT count(*) FROM t", false),
            ("SELECT 2 * price FROM t", false), ("SELECT a, count(*) FROM t", false), ("/// Reads `rules.NAME.*` over the rule", false),
        ])
    func `a statement that does not name its columns would be found`(line: String, isFound: Bool) {
        #expect(line.contains(Self.starOfColumns) == isFound)
    }

    @Test func `a file holds one idea`() {
        let long = sources.files.filter { $0.lines.count > 400 }.map { "\($0.path): \($0.lines.count) lines" }
        #expect(long == [])
    }

    @Test func `nothing names the machine it was written on`() throws {
        var files = sources.files + tests.files
        files += try Tree("scripts", "systemd", "migrations", "docs", extensions: ["sh", "py", "service", "yaml", "yml", "sql", "md", "conf"]).files
        for name in ["README.md", "CHANGELOG.md", "Package.swift", ".ci/run", "scripts/run", "scripts/test", "scripts/bench", "scripts/prove"] {
            files.append(Tree.File(path: name, text: try String(contentsOfFile: "\(Tree.root)/\(name)", encoding: .utf8)))
        }
        // In pieces, so that this file does not name them.
        let places = ["/" + "work/", "/" + "root/", "/" + "home/", "sha" + "red/"]
        for file in files where !file.path.hasPrefix("Tests/TidyTests/") {
            for place in places {
                #expect(!file.text.contains(place), "\(file.path) names \(place)")
            }
        }
    }

    @Test(arguments: ["README.md", "CHANGELOG.md", "docs/ARCHITECTURE.md", "docs/TESTING.md", "docs/BENCHMARKS.md", "docs/CONFIGURATION.md", "docs/INSTALL.md", "docs/POOL.md"])
    func `the documentation names files that are there`(page: String) throws {
        let text = try String(contentsOfFile: "\(Tree.root)/\(page)", encoding: .utf8)
        for match in text.matches(of: /`([A-Za-z.]+\/[A-Za-z0-9_\/.-]+\.(swift|sh|py|service|sql|md|yaml|css|png))[`:]|\]\(([A-Za-z0-9_\/.-]+)\)/) {
            let path = String(match.output.1 ?? match.output.3 ?? "")
            let places = ["", "Sources/", "Tests/", "docs/"].map { "\(Tree.root)/\($0)\(path)" }
            #expect(places.contains { FileManager.default.fileExists(atPath: $0) }, "\(page) names \(path)")
        }
    }

    @Test func `INSTALL.md lists the packages that the scripts would install for the toolchain`() throws {
        let scripts = try String(contentsOfFile: "\(Tree.root)/scripts/lib.sh", encoding: .utf8)
        let page = try String(contentsOfFile: "\(Tree.root)/docs/INSTALL.md", encoding: .utf8)
        let list = try #require(scripts.firstMatch(of: /toolchain_packages=\(([^)]*)\)/)).output.1
        let shown = try #require(page.firstMatch(of: /--no-install-recommends ([^\n]*\\\n[^\n]*)/)).output.1
        #expect(list.split(whereSeparator: \.isWhitespace) == shown.split { $0.isWhitespace || $0 == "\\" })
    }

    @Test(arguments: [".ci/run", "scripts/run", "scripts/test", "scripts/bench", "scripts/prove"])
    func `the doors can be opened`(script: String) throws {
        #expect(FileManager.default.isExecutableFile(atPath: "\(Tree.root)/\(script)"))
        let text = try String(contentsOfFile: "\(Tree.root)/\(script)", encoding: .utf8)
        #expect(text.hasPrefix("#!/bin/bash\n"))
        #expect(text.contains("set -euo pipefail"))
    }
}
