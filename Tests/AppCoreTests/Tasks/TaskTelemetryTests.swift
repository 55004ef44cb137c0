import Testing
import Vitals

@testable import AppCore

/// How a task went, as its events tell it.
struct `Telemetry of a task` {
    private let queued = WallTime(secondsSince1970: 1_800_000_000)

    private func event(_ sequence: Int, _ kind: TaskEvent.Kind, _ payload: JSONValue, at second: Int) -> TaskEvent {
        TaskEvent(taskID: AgentTask.sample().id, sequence: sequence, kind: kind, payload: payload, at: queued + .seconds(second))
    }

    @Test func `has each step with its own time, and the wait up to the first start`() {
        var task = AgentTask.sample()
        task.queuedAt = queued
        task.startedAt = queued + .seconds(3)
        task.finishedAt = queued + .seconds(63)
        let telemetry = TaskTelemetry(
            task: task,
            events: [
                event(1, .taskStarted, ["attempt": 1], at: 3),
                event(2, .stepStarted, ["step": "a", "round": 1], at: 4), event(3, .stepCompleted, ["step": "a", "round": 1, "seconds": 0.5], at: 5),
                // Its worker was lost in the second step.
                event(4, .stepStarted, ["step": "b", "round": 1], at: 6),
                event(5, .taskStarted, ["attempt": 2], at: 40),
                event(6, .stepStarted, ["step": "a", "round": 1], at: 41), event(7, .stepCompleted, ["step": "a", "round": 1, "seconds": 1.5], at: 43),
                event(8, .stepStarted, ["step": "b", "round": 1], at: 44), event(9, .stepCompleted, ["step": "b", "round": 1, "seconds": 19], at: 63),
            ])
        #expect(telemetry.steps.map(\.name) == ["a", "b", "a", "b"])
        #expect(telemetry.steps.map(\.attempt) == [1, 1, 2, 2])
        #expect(telemetry.steps.map(\.seconds) == [0.5, nil, 1.5, 19])
        #expect(telemetry.steps.map(\.startedAt) == [4, 6, 41, 44].map { queued + .seconds($0) })
        #expect(telemetry.queueSeconds == 3 && telemetry.runSeconds == 60)
    }

    @Test func `has no wait before the first start, and no run before the end`() {
        var task = AgentTask.sample()
        task.queuedAt = queued
        let waiting = TaskTelemetry(task: task, events: [])
        #expect(waiting.queueSeconds == nil && waiting.runSeconds == nil && waiting.steps.isEmpty)
        task.startedAt = queued + .seconds(3)
        let running = TaskTelemetry(task: task, events: [event(1, .taskStarted, ["attempt": 1], at: 3)])
        #expect(running.queueSeconds == 3 && running.runSeconds == nil)
    }
}
