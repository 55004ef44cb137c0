import Blackbox
import Testing

/// Keeps a test from running beside another that has this trait, in whichever suite: they share two cores and a clock.
struct InTurn: TestTrait, SuiteTrait, TestScoping {
    var isRecursive: Bool { true }

    @concurrent func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        try await Turn.shared.with { try await function() }
    }
}

extension Trait where Self == InTurn {
    static var inTurn: Self { InTurn() }
}
