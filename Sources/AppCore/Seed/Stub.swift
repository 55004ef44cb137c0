public import Vitals
public import Logging
public struct Seed: Sendable { public enum Scale: String, CaseIterable, Sendable { case small, medium, large }; public init(database: Database, scale: Scale, time: any TimeSource, logger: Logger) {}; public func plant(progress: @Sendable (Int) -> Void) async throws -> String { "" } }
