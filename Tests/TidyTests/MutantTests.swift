import FoundationEssentials
import Testing

/// The mistakes of Tests/Mutants fit the tree as it is: one that does not is noticed by nobody.
@Suite struct MutantTests {
    let mutants: [Tree.File]
    let sources: Tree
    let tests: Tree

    init() throws {
        mutants = try Tree("Tests/Mutants", extensions: ["patch"]).files
        sources = try Tree("Sources")
        tests = try Tree("Tests")
    }

    @Test func `there are sixty at least`() {
        #expect(mutants.count >= 60)
    }

    @Test func `each says what it is, what a user gets of it, and which tests notice it`() {
        let files = Set(tests.files.compactMap { $0.path.split(separator: "/").last?.split(separator: ".").first.map(String.init) })
        for mutant in mutants {
            for key in ["Mistake:", "Effect:", "Tests:"] {
                #expect(mutant.lines.contains { $0.hasPrefix(key) }, "\(mutant.path) lacks \(key)")
            }
            let named = mutant.lines.first { $0.hasPrefix("Tests:") }?.split(separator: " ").dropFirst().map(String.init) ?? []
            #expect(Set(named).subtracting(files) == [], "\(mutant.path)")
        }
    }

    @Test func `each fits, in one place`() {
        for mutant in mutants {
            guard let path = mutant.lines.first(where: { $0.hasPrefix("--- a/") })?.dropFirst(6),
                let source = sources.files.first(where: { $0.path == path })
            else {
                Issue.record("\(mutant.path) changes a file that is not there")
                continue
            }
            let present = source.lines
            for lines in Self.expected(by: mutant.lines) {
                let places = present.indices.filter { present[$0...].starts(with: lines) }
                #expect(places.count == 1, "\(mutant.path) fits \(places.count) places of \(path)")
            }
        }
    }

    /// What each hunk expects to find: the lines around its change, and those that it takes out.
    private static func expected(by patch: [Substring]) -> [[Substring]] {
        patch.split { $0.hasPrefix("@@ ") }.dropFirst().map { hunk in
            hunk.filter { $0.hasPrefix(" ") || $0.hasPrefix("-") }.map { $0.dropFirst() }
        }
    }
}
