import Synchronization
public import Vitals

/// Runs one probe at its interval, for ever, whatever the probe does.
///
/// A run that throws, hangs or ignores cancellation costs its own sample and nothing else: the runner reaches the run's deadline by
/// itself, drops what comes late, and does not start a second run beside one that has not come back.
/// After a change between well and not well it looks a few more times in quick succession, so that a verdict that needs
/// two votes of three does not need two intervals.
public final class ProbeRunner: Sendable {
    public let probe: Probe
    private let time: any TimeSource
    private let record: @Sendable (Sample) -> Void
    private let state: Mutex<State>
    private let durations = Histogram()
    private let concluded = Doorbell()
    private let nudged = Doorbell()

    private struct State {
        var progress: MonotonicInstant
        var nextAttempt = 0
        /// The run the loop waits for.
        var awaited: Attempt?
        /// When the run that has not come back yet began; may outlive `awaited`.
        var runningSince: MonotonicInstant?
        var conclusion: Conclusion?
        var quickRunsLeft = 0
        var runs: [ProbeOutcome: Int] = Dictionary(uniqueKeysWithValues: ProbeOutcome.allCases.map { ($0, 0) })
        var overruns = 0
        var lateResults = 0
        var lastOutcome: ProbeOutcome?
        var lastDuration: Duration?
        var lastSuccessAt: MonotonicInstant?
        var lastSuccess: WallTime?
        var facts: [String: String] = [:]

        mutating func count(_ sample: Sample) {
            runs[sample.outcome, default: 0] += 1
            let changed = lastOutcome.map { ($0 == .ok) != (sample.outcome == .ok) } ?? true
            if changed { quickRunsLeft = ProbeRunner.quickRuns }
            lastOutcome = sample.outcome
            lastDuration = sample.duration
            if let measurement = sample.measurement {
                lastSuccessAt = sample.at
                lastSuccess = sample.wall
                facts = measurement.facts
            }
        }
    }

    private struct Attempt {
        var number: Int
        var startedAt: MonotonicInstant
    }

    private struct Conclusion {
        var at: MonotonicInstant
        var result: Result<Measurement, ProbeFailure>
    }

    /// Looks after a change that do not wait for the interval, at most.
    static let quickRuns = 3
    /// A quick run follows after this part of the interval.
    static let quickDivisor = 5
    /// Between the end of a run and the start of the next, at least.
    static let gap = Duration.milliseconds(20)

    /// - Parameter record: called with every sample, on the runner's task; must not block.
    public init(_ probe: Probe, time: any TimeSource, record: @escaping @Sendable (Sample) -> Void) {
        self.probe = probe
        self.time = time
        self.record = record
        state = Mutex(State(progress: time.now()))
    }

    public convenience init(_ probe: Probe, board: HealthBoard, time: any TimeSource) {
        self.init(probe, time: time) { board.record($0) }
    }

    /// Measures now instead of at the next interval; a nudge during a run leads to one more run after it. Any thread.
    public func nudge() { nudged.ring() }

    /// The last instant the runner finished a run or hit a run's deadline: for the watchdog.
    public var progress: MonotonicInstant { state.withLock { $0.progress } }

    /// `progress` never gets older than this, or the runner itself is stalled (starved of the scheduler, most likely).
    public var longestSilence: Duration { probe.interval + probe.timeout }

    /// Until the task is cancelled.
    public func run() async {
        // The group holds runs that have not come back; the loop never waits for them, only for their conclusion.
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                let startedAt = time.now()
                if let attempt = begin(at: startedAt) {
                    group.addTask { await self.perform(attempt) }
                    await concluded.wait()
                    guard !Task.isCancelled else { break }
                }
                record(sample(startedAt: startedAt))
                await pause(after: startedAt)
            }
            group.cancelAll()
        }
    }

    /// Nil when the run before is still out.
    private func begin(at now: MonotonicInstant) -> Attempt? {
        state.withLock { state in
            if let since = state.runningSince {
                state.overruns += 1
                let failure = ProbeFailure(.skipped, "the look before it has not come back for \((now - since).text)")
                state.conclusion = Conclusion(at: now, result: .failure(failure))
                return nil
            }
            state.nextAttempt += 1
            let attempt = Attempt(number: state.nextAttempt, startedAt: now)
            state.awaited = attempt
            state.runningSince = now
            return attempt
        }
    }

    private func perform(_ attempt: Attempt) async {
        let deadline = attempt.startedAt + probe.timeout
        await withTaskGroup(of: Void.self) { group in
            group.addTask { self.conclude(attempt, await self.measured()) }
            group.addTask {
                guard (try? await self.time.sleep(until: deadline)) != nil else { return }
                self.conclude(attempt, .failure(ProbeFailure(.timeout, "no reply within \(self.probe.timeout.text)")), atDeadline: true)
            }
            await group.next()
            if probe.atTimeout == .cancelled || state.withLock({ $0.runningSince == nil }) { group.cancelAll() }
        }
    }

    /// The boundary: whatever a probe throws ends here, as a value.
    private func measured() async -> Result<Measurement, ProbeFailure> {
        do {
            return .success(try await probe.measure())
        } catch let failure as ProbeFailure {
            return .failure(failure)
        } catch is CancellationError {
            return .failure(ProbeFailure(.timeout, "no reply within \(probe.timeout.text)"))
        } catch {
            return .failure(ProbeFailure(.error, "\(error)".oneLine(limit: 300)))
        }
    }

    /// The first to conclude an attempt decides it.
    private func conclude(_ attempt: Attempt, _ result: Result<Measurement, ProbeFailure>, atDeadline: Bool = false) {
        let now = time.now()
        let first = state.withLock { state -> Bool in
            if !atDeadline { state.runningSince = nil }
            guard state.awaited?.number == attempt.number else {
                if case .success = result { state.lateResults += 1 }
                return false
            }
            state.awaited = nil
            state.conclusion = Conclusion(at: now, result: result)
            return true
        }
        if first { concluded.ring() }
    }

    private func sample(startedAt: MonotonicInstant) -> Sample {
        let now = time.now()
        let wall = time.wallNow()
        let sample = state.withLock { state -> Sample in
            let conclusion =
                state.conclusion ?? Conclusion(at: now, result: .failure(ProbeFailure(.error, "the run ended without a result")))
            state.conclusion = nil
            let sample = Sample(
                probe: probe.id, component: probe.component, at: conclusion.at, wall: wall, duration: conclusion.at - startedAt,
                interval: probe.interval, result: conclusion.result)
            state.count(sample)
            state.progress = now
            return sample
        }
        if sample.outcome != .skipped { durations.record(sample.duration) }
        return sample
    }

    private func pause(after startedAt: MonotonicInstant) async {
        // A cancelled run gets a moment to come back, and a storm of nudges does not become a busy loop.
        try? await time.sleep(until: time.now() + Self.gap)
        let quick = state.withLock { state -> Bool in
            // A run that is still out would only be skipped: no quick votes from one and the same hang.
            guard state.quickRunsLeft > 0, state.runningSince == nil else { return false }
            state.quickRunsLeft -= 1
            return true
        }
        await nudged.wait(until: startedAt + (quick ? probe.interval / Self.quickDivisor : probe.interval), time: time)
    }

    public var statistics: ProbeStatistics {
        let now = time.now()
        let duration = durations.snapshot()
        return state.withLock { state in
            ProbeStatistics(
                probe: probe.id, component: probe.component, interval: probe.interval, runs: state.runs, overruns: state.overruns,
                lateResults: state.lateResults, duration: duration, lastOutcome: state.lastOutcome, lastDuration: state.lastDuration,
                lastSuccess: state.lastSuccess, staleness: state.lastSuccessAt.map { now - $0 },
                runningFor: state.runningSince.map { now - $0 }, facts: state.facts)
        }
    }
}
