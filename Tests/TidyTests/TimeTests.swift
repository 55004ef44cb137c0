import Testing

/// Tests judge the program and not the machine: docs/TESTING.md says how.
@Suite struct TimeTests {
    let tests: Tree

    init() throws { tests = try Tree("Tests") }

    @Test func `a time that was measured is compared with a promise or with what the machine allows, not with a number`() {
        #expect(tests.files.filter { !$0.path.hasPrefix("Tests/TidyTests/") }.flatMap(\.numbersForTimes) == [])
    }

    @Test(
        arguments: [
            ("#expect(MonotonicInstant.now() - began < .seconds(5))", true),
            ("#expect(await timed { work() } <= Duration.milliseconds(50))", true),
            ("if took >= .milliseconds(5) { complain() }\nlet took = await timed { work() }", true),
            ("let began = MonotonicInstant.now()\n#expect(.seconds(2) > .now() - began)", true),
            ("let took = await timed { work() }\n#expect(took.seconds < 0.5)", true),
            ("let took = await timed { work() }\n#expect((.milliseconds(500) ... .milliseconds(900)).contains(took))", true),
            ("#expect(try await eventually(\"up\") { isUp } < .seconds(2))", true),
            // What is allowed, and what is no comparison.
            ("#expect(await timed { work() } < promise(.seconds(1), \"S1: it is told at once\"))", false),
            ("let late = try await judged(below: .milliseconds(50)) { await timed { work() } }\n#expect(late.holds)", false),
            ("let took = await timed { work() }\n#expect(took < reference.allows(.milliseconds(5)))", false),
            ("func took() -> Duration { .seconds(1) }\nlet later = Deadline(.now() + .seconds(30))", false),
            ("let took = await timed { work() }\n#expect(took < budget / 2 && took > .zero)", false),
            ("let took = await timed { work() }\nlet part = run[.milliseconds(750)..<(.milliseconds(1_600))]", false),
            // A clock that the test moves is the same on every machine.
            ("let time = ManualTime()\n#expect(time.now() - began <= .milliseconds(2_500))", false),
            ("let start = MonotonicInstant(nanoseconds: 1)\n#expect(later - start <= .milliseconds(60))", false),
        ])
    func `a number for a time would be found`(text: String, isFound: Bool) {
        #expect(Tree.File(path: "a", text: text).numbersForTimes.isEmpty == !isFound)
    }

    @Test func `a limit that only keeps a test from hanging is a generous one`() {
        let limit = /\b(?:until|eventually|eventuallySome|untilAsleep|ended|end)\(.*within: \.(seconds|milliseconds)\(([0-9_]+)\)/
        for file in tests.files where !file.path.hasPrefix("Tests/TidyTests/") {
            for line in file.code.split(separator: "\n") {
                guard let found = line.firstMatch(of: limit) else { continue }
                #expect(found.1 == "seconds" && Int(found.2.filter { $0 != "_" }) ?? 0 >= 30, "\(file.path): \(line)")
            }
        }
    }
}

extension Tree.File {
    /// The places, as `path:line`, where a file that looks at a real clock compares something with a time in figures.
    var numbersForTimes: [String] {
        guard code.contains(/MonotonicInstant\.now\(\)|[\s(]\.now\(\)|\btimed( \{|\()|\bSystemTime\(\)|\b(Continuous|Suspending)Clock\b|\beventually/) else { return [] }
        let comparison =
            /[<>]=?\s*(Duration)?\.(nano|micro|milli)?seconds\([0-9._]+\)|\.(nano|micro|milli)?seconds\([0-9._]+\)\s*[<>]=?\s|\.(seconds|milliseconds|sum)\s*[<>]=?\s*[0-9]|seconds\([0-9._]+\)\)\.contains\(/
        return code.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            line.contains(comparison) ? "\(path):\(index + 1)" : nil
        }
    }
}
