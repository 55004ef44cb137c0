import AppCore
import Glibc
import Vitals

/// One cell: so many callers, each asking again as soon as it is served, for so long.
enum Measurement {
    /// What one caller saw: the time of each operation in nanoseconds.
    private struct Tally: Sendable {
        var times: [UInt32] = []
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
        let times = tallies.flatMap(\.times).sorted()
        guard !times.isEmpty else { return #"{"error":"no operation ended in time"}"# }
        let each = command.mode == .batch ? batchSize : 1
        let operations = Double(times.count * each)
        let quantile = { (share: Double) in Double(times[min(times.count - 1, Int(Double(times.count) * share))]) / 1000 }
        return """
            {"ops_s":\(operations / elapsed),"p50_us":\(quantile(0.5)),"p99_us":\(quantile(0.99)),\
            "cpu_us_op":\(processor * 1e6 / operations)}
            """
    }

    private static func caller(_ command: Command, _ database: Database, until end: MonotonicInstant) async -> Tally {
        var tally = Tally()
        tally.times.reserveCapacity(1 << 16)
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
                tally.times.append(UInt32(clamping: (now - started).nanoseconds))
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
