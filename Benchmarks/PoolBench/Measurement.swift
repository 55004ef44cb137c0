import AppCore
import Glibc
import Vitals

/// One cell: so many callers, each asking again as soon as it is served, for so long.
enum Measurement {
    /// What one caller saw.
    private struct Tally: Sendable {
        var times = Latencies()
        var failure: String?
    }

    /// Statements of one `batch`.
    private static let batchSize = 10

    static func run(_ command: Command, on database: Database, executor: EventLoop?) async -> String {
        let before = processorSeconds()
        let began = MonotonicInstant.now()
        let end = began + .seconds(command.seconds)
        let tallies = await withTaskGroup(of: Tally.self) { group in
            for _ in 0..<command.callers {
                group.addTask(executorPreference: executor) { await caller(command, database, until: end) }
            }
            return await group.reduce(into: [Tally]()) { $0.append($1) }
        }
        let elapsed = (MonotonicInstant.now() - began).seconds
        let processor = processorSeconds() - before
        if let failure = tallies.lazy.compactMap(\.failure).first { return #"{"error":"\#(failure.replacing("\"", with: "'"))"}"# }
        let times = tallies.reduce(into: Latencies()) { $0.add($1.times) }
        guard times.count > 0 else { return #"{"error":"no operation ended in time"}"# }
        let operations = Double(times.count * (command.mode == .batch ? batchSize : 1))
        return """
            {"ops_s":\(operations / elapsed),"p50_us":\(times.microseconds(at: 0.5)),"p99_us":\(times.microseconds(at: 0.99)),\
            "cpu_us_op":\(processor * 1e6 / operations)}
            """
    }

    private static func caller(_ command: Command, _ database: Database, until end: MonotonicInstant) async -> Tally {
        var tally = Tally()
        do {
            var started = MonotonicInstant.now()
            while started < end {
                switch command.mode {
                case .query: try await database.withConnection(for: "bench") { _ = try await $0.query("SELECT 1") }
                case .bare where command.callers == 1: try await database.withConnection(for: "bench") { _ in }
                case .bare: try await database.withConnection(for: "bench") { _ in await Task.yield() }
                case .single: _ = try await database.query("SELECT 1", for: "bench")
                case .batch: try await database.withConnection(for: "bench") { _ = try await $0.batch(Self.statements) }
                }
                let now = MonotonicInstant.now()
                tally.times.record(now.nanoseconds(since: started))
                started = now
            }
        } catch {
            tally.failure = "\(error)"
        }
        return tally
    }

    private static let statements = Array(repeating: SQL("SELECT 1"), count: batchSize)

    private static func processorSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let microseconds = Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + microseconds / 1e6
    }
}
