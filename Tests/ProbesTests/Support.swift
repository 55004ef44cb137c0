import Dispatch
import FoundationEssentials
import Probes
import Synchronization
import TestServers
import Vitals

/// Samples of one probe, a second apart, written as a word: `v` well, `x` refused, `t` timed out.
func samples(_ word: String, every interval: Duration = .seconds(1), from start: MonotonicInstant = .start) -> [Sample] {
    word.enumerated().map { index, letter in
        sample(
            at: start + interval * index, interval: interval,
            letter == "v"
                ? .success(Measurement())
                : .failure(
                    letter == "t"
                        ? ProbeFailure(.timeout, "no reply within 500 ms") : ProbeFailure(.unreachable, "connection refused")))
    }
}

/// Samples with a value, a second apart.
func samples(
    _ values: [Double], key: String = "saturation", every interval: Duration = .seconds(1), from start: MonotonicInstant = .start
) -> [Sample] {
    values.enumerated().map { index, value in
        sample(at: start + interval * index, interval: interval, .success(Measurement(values: [key: value])))
    }
}

func sample(
    probe: ProbeID = "probe", at instant: MonotonicInstant = .start, interval: Duration = .seconds(1),
    _ result: Result<Measurement, ProbeFailure>
) -> Sample {
    Sample(
        probe: probe, component: "component", at: instant, wall: WallTime(secondsSince1970: 1_800_000_000),
        duration: .milliseconds(2), interval: interval, result: result)
}

extension MonotonicInstant {
    static let start = MonotonicInstant(nanoseconds: 1_000_000_000_000)
}

/// The verdict after each sample.
func verdicts(_ samples: [Sample], by rule: Rule) -> [Verdict] {
    var window = SampleWindow(capacity: rule.memory)
    var standing = Standing(since: .start)
    return samples.map { sample in
        if rule.concerns(sample) { window.append(sample) }
        let verdict = verdict(for: window, by: rule, was: standing, now: sample.at)
        standing = verdict.standing
        return verdict
    }
}

func states(_ samples: [Sample], by rule: Rule) -> String {
    String(verdicts(samples, by: rule).map { $0.state.rawValue.first ?? "?" })
}

/// Collects what a callback hands out.
final class Collected<Element: Sendable>: Sendable {
    private let list = Mutex<[Element]>([])

    func add(_ element: Element) { list.withLock { $0.append(element) } }
    var all: [Element] { list.withLock { $0 } }
    var count: Int { list.withLock { $0.count } }
}

extension ManualTime {
    /// Moves the clock in small steps, each only while something sleeps, until the condition holds.
    ///
    /// Under `OneByOne` all that can run has run before each step: otherwise a busy machine could keep a task from its turn for longer
    /// than its deadline on this clock, which knows nothing of that.
    func run(_ what: String, step: Duration = .milliseconds(10), until condition: () -> Bool) async throws {
        try await until(what) {
            if condition() { return true }
            try await untilAsleep()
            for _ in 0..<20 { await Task.yield() }
            if condition() { return true }
            advance(by: step)
            return false
        }
    }
}

/// Runs tasks one at a time in the order in which they became ready, so that to yield is to let all others go first.
final class OneByOne: TaskExecutor {
    private let queue = DispatchQueue(label: "one by one")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

func encode(_ value: some Encodable) throws -> Data {
    try JSONEncoder().encode(value)
}

func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
    try JSONDecoder().decode(type, from: data)
}
