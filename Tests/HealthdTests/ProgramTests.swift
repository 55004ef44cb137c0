@testable import AppCore
import Probes
import Testing
import Vitals

@testable import healthd

/// What is set reaches the part that it is for.
@Suite struct `A program that is made of its settings` {
    @Test func `has the pool, the cache, the tasks and the looks that were asked for`() async throws {
        let yaml = """
            database: { pool: { max: 31, min: 3, waiters: 36 } }
            cache: { ttl: 37s, memory: 38MiB }
            tasks: { concurrency: 41, per-workspace: 5 }
            probes: { interval: 42s, timeout: 43ms }
            """
        try await withProgram(yaml) { program, _, _ in
            let pool = program.database.pool.configuration
            #expect(pool.max == 31 && pool.min == 3 && pool.waiters == 36)
            #expect(program.cache.configuration.lifetime == .seconds(37) && program.cache.configuration.memoryBytes == 38 << 20)
            #expect(program.worker.statistics().limit == 41)
            // New connections are looked for at a rate of their own.
            for probe in program.runners.map(\.probe) where probe.id != "postgres-connect" {
                #expect(probe.interval == .seconds(42) && probe.timeout == .milliseconds(43), "\(probe.id)")
            }
        }
    }

    @Test func `has somebody who looks for each of its rules, and leaves half of its connections to those who only ask`() async throws {
        try await withProgram { program, _, _ in
            let looked = Set(program.runners.map(\.probe.id))
            for rule in program.board.rules { #expect(looked.contains(rule.probe), "\(rule.name)") }
            #expect(program.connections.snapshot().maximum == 100 && program.hub.statistics().limit == 50)
        }
    }
}
