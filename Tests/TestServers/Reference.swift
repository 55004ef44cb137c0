import Glibc
import Synchronization
public import Vitals

/// What the machine did, while something was measured, to threads that want next to nothing of it: by this a test tells a slow program from a
/// busy machine.
///
/// Every two milliseconds one thread wakes, asks another and waits for its answer, as a request does; how much later than it wanted to wake that
/// was over is a lateness. Every fiftieth time it works for six milliseconds of its own CPU time; how much longer that took is the slowdown.
public struct Reference: Sendable {
    struct Turn: Sendable {
        var at: MonotonicInstant
        var lateness: Duration
    }

    struct Work: Sendable {
        var at: MonotonicInstant
        var took: Duration
        var ofItsOwn: Duration
    }

    var turns: [Turn] = []
    var works: [Work] = []

    /// The lateness below which this share of all lies; the greatest by default.
    public func lateness(_ share: Double = 1) -> Duration {
        let sorted = turns.map(\.lateness).sorted()
        return sorted.isEmpty ? .zero : sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }

    /// The time that work took over the time that it needs; 1 where it has a core for itself.
    public var slowdown: Double {
        let (took, needed) = works.reduce((Duration.zero, Duration.zero)) { ($0.0 + $1.took, $0.1 + $1.ofItsOwn) }
        return needed > .zero ? max(1, took / needed) : 1
    }

    /// What a bound for a calm machine comes to on this one.
    ///
    /// - Parameter share: 1 when the greatest of the times that were measured is judged; a quantile is judged with the same of the latenesses.
    public func allows(_ bound: Duration, share: Double = 1) -> Duration { bound * slowdown + lateness(share) }

    /// What was noted from one instant on and before another.
    public subscript(_ part: Range<MonotonicInstant>) -> Reference {
        Reference(turns: turns.filter { part.contains($0.at) }, works: works.filter { part.contains($0.at) })
    }

    public var text: String {
        "slowdown \((slowdown * 100).rounded() / 100), lateness p50 \(lateness(0.5).text), p99 \(lateness(0.99).text), greatest \(lateness().text)"
    }
}

/// Runs `body`, and answers with its result what the machine did meanwhile.
///
/// It is begun a moment before, and goes on until there is something to say: a body of an instant is judged by the moments around it.
public func beside<Result>(_ body: () async throws -> Result) async throws -> (result: Result, reference: Reference) {
    let companion = try Companion()
    let result: Result
    do {
        try await until("the reference turns", within: .seconds(60)) { companion.hasBegun }
        result = try await body()
    } catch {
        _ = await companion.end()
        throw error
    }
    return (result, await companion.end())
}

/// The two threads of one reference.
private final class Companion: Sendable {
    private static let pause = Duration.milliseconds(2)
    private static let work = Duration.milliseconds(6)
    private static let turnsBetweenWorks = 50
    private static let leastTurns = 12

    private struct State {
        var reference = Reference()
        var isOver = false
        var hasEnded = false
        var ended: CheckedContinuation<Reference, Never>?
    }

    private let state = Mutex(State())

    init() throws {
        var ends: [Int32] = [-1, -1]
        guard makePipe(&ends) else { throw TestServerError("no socket pair, errno \(errno)") }
        let (near, far) = (ends[0], ends[1])
        startThread {
            var byte: UInt8 = 0
            while read(far, &byte, 1) == 1 {
                guard write(far, &byte, 1) == 1 else { break }
            }
            close(far)
        }
        startThread { [self] in
            run(near)
            close(near)
            let (reference, ended) = state.withLock { state in
                state.hasEnded = true
                return (state.reference, state.ended.take())
            }
            ended?.resume(returning: reference)
        }
    }

    var hasBegun: Bool { state.withLock { !$0.reference.turns.isEmpty } }

    /// Ends both threads and answers what was noted.
    func end() async -> Reference {
        await withCheckedContinuation { continuation in
            let reference = state.withLock { state -> Reference? in
                state.isOver = true
                if state.hasEnded { return state.reference }
                state.ended = continuation
                return nil
            }
            if let reference { continuation.resume(returning: reference) }
        }
    }

    private func run(_ descriptor: Int32) {
        var byte: UInt8 = 0
        var next = MonotonicInstant.now()
        for number in 0... {
            next = max(next + Self.pause, .now())
            var wake = timespec(tv_sec: Int(next.nanoseconds / 1_000_000_000), tv_nsec: Int(next.nanoseconds % 1_000_000_000))
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nil)
            guard write(descriptor, &byte, 1) == 1, read(descriptor, &byte, 1) == 1 else { return }
            let turn = Reference.Turn(at: next, lateness: .now() - next)
            let work = number % Self.turnsBetweenWorks == 1 ? Self.works() : nil
            let isOver = state.withLock { state in
                state.reference.turns.append(turn)
                if let work { state.reference.works.append(work) }
                return state.isOver && number >= Self.leastTurns
            }
            if isOver { return }
        }
    }

    private static func works() -> Reference.Work {
        let (began, before) = (MonotonicInstant.now(), ownTime())
        var ofItsOwn = Duration.zero
        repeat { ofItsOwn = ownTime() - before } while ofItsOwn < work
        return Reference.Work(at: began, took: .now() - began, ofItsOwn: ofItsOwn)
    }

    /// The CPU time of this thread.
    private static func ownTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
