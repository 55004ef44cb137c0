import Glibc
import Synchronization
import Testing
import Vitals

@testable import AppCore

/// Arrivals at instants that were fixed beforehand: callers come whether or not those before them have been served.
///
/// A closed loop asks again when it has been answered, and so spares a pool that is slow just when it should not be spared.
struct OpenLoop {
    /// From the start of the run.
    var arrivals: [Duration]

    init(everySecond rate: Double, for length: Duration) {
        arrivals = (0..<Int(rate * length.seconds)).map { .seconds(Double($0) / rate) }
    }

    /// Independent callers: the time between two is exponential.
    init(poissonEverySecond rate: Double, for length: Duration, seed: UInt64) {
        var generator = SplitMix64(seed: seed)
        var (at, all) = (0.0, [Duration]())
        while at < length.seconds {
            all.append(.seconds(at))
            at -= log(1 - generator.unit()) / rate
        }
        arrivals = all
    }

    /// One run after the other.
    static func + (first: OpenLoop, second: (OpenLoop, after: Duration)) -> OpenLoop {
        var both = first
        both.arrivals += second.0.arrivals.map { $0 + second.after }
        return both
    }

    /// Runs `visit` once for each arrival, and returns when all have ended. It is told when it was meant to begin, after the start.
    ///
    /// - Returns: the start.
    @discardableResult
    func run(_ visit: @escaping @Sendable (_ start: MonotonicInstant, _ intended: MonotonicInstant) async -> Void) async throws -> MonotonicInstant {
        let loop = try EventLoop(name: "arrivals")
        defer { loop.shutdown() }
        let (stream, continuation) = AsyncStream.makeStream(of: MonotonicInstant.self)
        let start = MonotonicInstant.now() + .milliseconds(20)
        for arrival in arrivals {
            let intended = start + arrival
            loop.schedule(at: intended) { continuation.yield(intended) }
        }
        loop.schedule(at: start + (arrivals.last ?? .zero)) { continuation.finish() }
        await withDiscardingTaskGroup { group in
            for await intended in stream {
                group.addTask { await visit(start, intended) }
            }
        }
        return start
    }
}

/// How one caller fared.
struct Visit: Sendable {
    enum End: Sendable {
        case served(waited: Duration, held: Duration)
        case refused(ShedReason, retryAfter: Duration)
        /// Its statement was sent, and its deadline came first.
        case late
        case other(String)
    }

    /// After the start of the run, by plan.
    var at: Duration
    /// From when it was meant to ask until it was told.
    var took: Duration
    /// From when it asked until it was told.
    var decided: Duration
    var end: End

    /// Takes a lease for one statement.
    static func run(
        _ database: Database, _ sql: SQL, _ workClass: WorkClass = .interactive, within budget: Duration, start: MonotonicInstant,
        intended: MonotonicInstant
    ) async -> Visit {
        let asked = MonotonicInstant.now()
        let end: End
        do {
            end = try await Deadline.$current.withValue(Deadline(intended + budget)) {
                try await Work.$workClass.withValue(workClass) {
                    try await database.withConnection(for: "visit", within: budget * 2) { lease in
                        let granted = MonotonicInstant.now()
                        _ = try await lease.query(sql)
                        return .served(waited: granted - asked, held: .now() - granted)
                    }
                }
            }
        } catch PoolError.saturated(_, _, let retryAfter, let reason) {
            end = .refused(reason, retryAfter: retryAfter)
        } catch PostgresError.deadlineExceeded {
            end = .late
        } catch {
            end = .other("\(error)")
        }
        let now = MonotonicInstant.now()
        return Visit(at: intended - start, took: now - intended, decided: now - asked, end: end)
    }
}

/// All visits of a run.
struct Visits: Sendable {
    var all: [Visit] = []

    var served: [Visit] { all.filter { if case .served = $0.end { true } else { false } } }
    /// Told at once, before they queued.
    var refused: [Visit] { all.filter { if case .refused(let reason, _) = $0.end { reason != .expired } else { false } } }
    var expired: Int { all.count { if case .refused(.expired, _) = $0.end { true } else { false } } }
    var late: Int { all.count { if case .late = $0.end { true } else { false } } }
    var others: [String] { all.compactMap { if case .other(let text) = $0.end { text } else { nil } } }

    var waits: [Duration] { all.compactMap { if case .served(let waited, _) = $0.end { waited } else { nil } } }
    /// How long those who were served had their connection.
    var uses: [Duration] { all.compactMap { if case .served(_, let held) = $0.end { held } else { nil } } }
    var retries: [Duration] { all.compactMap { if case .refused(let reason, let after) = $0.end, reason != .expired { after } else { nil } } }

    /// Those meant to come in this part of the run.
    subscript(_ part: Range<Duration>) -> Visits { Visits(all: all.filter { part.contains($0.at) }) }

    /// Served each second, of those that were answered in this part of the run and by their deadline.
    func goodput(_ part: Range<Duration>, within budget: Duration) -> Double {
        Double(served.count { $0.took <= budget && part.contains($0.at + $0.took) }) / (part.upperBound - part.lowerBound).seconds
    }

    var figures: String {
        "served \(served.count), refused \(refused.count), expired \(expired), late \(late), others \(others.count); served p50 "
            + "\(served.map(\.took).text(0.5)), p99 \(served.map(\.took).text(0.99)); refusals told in p99 \(refused.map(\.decided).text(0.99))"
    }
}

extension [Duration] {
    fileprivate func text(_ share: Double) -> String { isEmpty ? "-" : quantile(share).text }
}
