import Logging
import Vitals

/// One claimed task on its way through its steps, until it is finished, given back, or no longer ours.
struct TaskRun: Sendable {
    let store: AgentTaskStore
    let task: AgentTask
    /// Its attempts before this one that ended badly.
    let failures: Int
    let configuration: TaskConfiguration
    let meters: TaskMeters
    let time: any TimeSource
    let logger: Logger
    /// True once the worker is to stop.
    let stopping: @Sendable () -> Bool

    /// How the steps ended.
    private enum End {
        case done(TaskFindings)
        /// Somebody asked for a pause or a cancellation, or the worker stops.
        case interrupted
    }

    /// Never throws: what goes wrong with one task ends here. Its worker has entered it in the roster.
    func run() async {
        let started = time.now()
        defer { store.roster.leave(task.held) }
        await Work.$detail.withValue("task \(task.id)") {
            do {
                let outcome = try await conclude(try await perform())
                if let outcome { meters.run[outcome]?.record(time.now() - started) }
            } catch is AgentTaskStore.LeaseLost {
                meters.leasesLost.add()
                logger.warning("task lease lost", metadata: ["task": "\(task.id)", "attempt": "\(task.attempt)"])
            } catch {
                await giveBack(after: error, started: started)
            }
        }
    }

    private func perform() async throws -> End {
        guard let handler = store.handler(for: task.type) else { throw TaskFailure("no handler for tasks of type \(task.type)") }
        let parameters = try TaskParameters(task.params)
        let data = TaskData(database: store.database, task: task, parameters: parameters)
        let total = Double(handler.steps.count * parameters.rounds)
        var findings = TaskFindings()
        var completed = 0.0
        for round in 1...parameters.rounds {
            findings = TaskFindings()
            for step in handler.steps {
                if try isInterrupted() { return .interrupted }
                let facts: [String: JSONValue] = ["step": .string(step.name), "round": .integer(round)]
                let asked = try await store.note(.stepStarted, .object(facts), step: step.name, progress: completed / total, of: task)
                if asked != nil { return .interrupted }
                let began = time.now()
                try await perform(step, data, &findings)
                completed += 1
                let took = facts.merging(["seconds": .rounded((time.now() - began).seconds)]) { _, new in new }
                let askedMeanwhile = try await store.note(.stepCompleted, .object(took), step: step.name, progress: completed / total, of: task)
                if askedMeanwhile != nil { return .interrupted }
            }
            if round < parameters.rounds, try await isInterrupted(within: parameters.interval) { return .interrupted }
        }
        findings.figures["rounds"] = .integer(parameters.rounds)
        return .done(findings)
    }

    private func perform(_ step: TaskStep, _ data: TaskData, _ findings: inout TaskFindings) async throws {
        let began = time.now()
        // The closure of withValue may not capture an inout parameter.
        let before = findings
        do {
            findings = try await Deadline.$current.withValue(Deadline(began + configuration.step)) {
                var own = before
                try await step.perform(data, &own)
                return own
            }
        } catch let error as PoolError {
            let took = time.now() - began
            guard took > configuration.step / 2 else { throw error }
            throw StepOutOfTime(step: step.name, took: took, limit: configuration.step, cause: error)
        }
    }

    /// A step had used up most of its time when there was no connection for it: what it lacked was time.
    private struct StepOutOfTime: Error, CustomStringConvertible {
        var step: String
        var took: Duration
        var limit: Duration
        var cause: PoolError

        var description: String { "step \(step) has had \(took.text) of \(limit.text): \(cause)" }
    }

    private func isInterrupted() throws -> Bool {
        let state = store.roster.state(of: task.held)
        if state.lost { throw AgentTaskStore.LeaseLost() }
        return state.requested != nil || stopping()
    }

    /// Waits between rounds, looking up each second.
    private func isInterrupted(within interval: Duration) async throws -> Bool {
        let end = time.now() + interval
        while time.now() < end {
            if try isInterrupted() { return true }
            try await time.sleep(until: min(end, time.now() + .seconds(1)))
        }
        return false
    }

    private func conclude(_ end: End) async throws -> TaskOutcome? {
        switch end {
        case .done(let findings):
            try await patiently { try await store.complete(task, result: .object(findings.figures), summary: findings.summary) }
            return .succeeded
        case .interrupted:
            return try await patiently { try await store.giveBack(task, .unfinished) } == .cancel ? .cancelled : nil
        }
    }

    /// The last write of a run, as soon as there is a connection for it: left to the end of its lease, which is renewed meanwhile, the task would
    /// count as one whose worker was lost.
    private func patiently<Result>(_ write: () async throws -> Result) async throws -> Result {
        while true {
            do {
                return try await write()
            } catch let error as PoolError where error.timeToComeBack != nil {
                // A worker that stops keeps nobody waiting.
                guard !stopping(), !store.roster.state(of: task.held).lost else { throw error }
                try await time.sleep(for: .seconds(1))
            }
        }
    }

    /// Back to the queue when what failed is around the task, which is not blamed for a connection that we did not have; failed when it is the
    /// task itself.
    private func giveBack(after error: any Error, started: MonotonicInstant) async {
        let metadata: Logger.Metadata = ["task": "\(task.id)", "type": "\(task.type)", "attempt": "\(task.attempt)", "reason": "\(error)"]
        let transient = Self.isTransient(error)
        do {
            if error is CancellationError || stopping() {
                try await store.giveBack(task, .unfinished)
            } else if let pause = (error as? PoolError)?.timeToComeBack {
                // The later the more often that was so: it may be the task that needs them all.
                let delay = max(pause, .seconds(min(task.attempt, 30)))
                if try await isRequeued(.noConnection(delay: delay), started: started) {
                    logger.info("task goes back to the queue: there is no connection for it", metadata: metadata)
                }
            } else if transient, failures + 1 < configuration.attempts {
                if try await isRequeued(.failed(delay: .seconds(failures + 1)), started: started) {
                    logger.warning("task goes back to the queue", metadata: metadata)
                }
            } else {
                logger.warning("task failed", metadata: metadata)
                try await patiently { try await store.fail(task, reason: "\(error)") }
                meters.run[Self.isTimeout(error) ? .timeout : .failed]?.record(time.now() - started)
            }
        } catch {
            // Its lease ends by itself, and then somebody claims it.
            logger.debug("task left to its lease", metadata: ["task": "\(task.id)", "reason": "\(error)"])
        }
    }

    /// Gives the task back after a failure. Answers whether it will be tried again: somebody may have asked for something else meanwhile.
    private func isRequeued(_ why: AgentTaskStore.Return, started: MonotonicInstant) async throws -> Bool {
        let asked = try await patiently { try await store.giveBack(task, why) }
        if asked == nil { meters.retries.add() }
        if asked == .cancel { meters.run[.cancelled]?.record(time.now() - started) }
        return asked == nil
    }

    static func isTransient(_ error: any Error) -> Bool {
        switch error {
        case is PoolError, is StepOutOfTime, is CancellationError: true
        case let error as PostgresError:
            switch error {
            case .connectFailed, .connectTimedOut, .connectionLost, .deadlineExceeded, .cancelled, .notSent: true
            // A privilege or a column that is missing may be there again in a moment: somebody migrates.
            case .server(let server): [.away, .full, .busy, .conflict, .readOnly, .stalePlan, .denied, .schema].contains(server.meaning)
            case .transactionRolledBack, .decoding, .unsupported: false
            }
        default: false
        }
    }

    private static func isTimeout(_ error: any Error) -> Bool {
        if case PostgresError.deadlineExceeded = error { return true }
        return error is StepOutOfTime
    }
}

extension PoolError {
    /// When whoever had no connection may have one; nil when that is for no fault of ours, or not foreseen.
    fileprivate var timeToComeBack: Duration? {
        switch self {
        case .saturated(_, _, let retryAfter, _): retryAfter
        case .databaseUnavailable(_, _, let nextAttemptIn): nextAttemptIn
        case .shuttingDown, .cancelled: nil
        }
    }
}
