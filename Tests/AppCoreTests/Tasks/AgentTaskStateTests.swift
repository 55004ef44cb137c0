import Testing
import Vitals

@testable import AppCore

struct `Task states` {
    /// Rows: state, what is requested already, action, and what follows; nil is a conflict.
    private static let rules: [(AgentTask.State, TaskAction?, TaskAction, AgentTask.Effect?)] = [
        (.created, nil, .start, .become(.queued)), (.created, nil, .pause, .become(.paused)), (.created, nil, .cancel, .become(.cancelled)),
        (.created, nil, .resume, nil),
        (.queued, nil, .start, nil), (.queued, nil, .pause, .become(.paused)), (.queued, nil, .cancel, .become(.cancelled)), (.queued, nil, .resume, nil),
        (.running, nil, .start, nil), (.running, nil, .pause, .ask(.pause)), (.running, nil, .cancel, .ask(.cancel)), (.running, nil, .resume, nil),
        (.running, .pause, .pause, nil), (.running, .pause, .resume, .withdraw), (.running, .pause, .cancel, .ask(.cancel)),
        (.running, .cancel, .cancel, nil), (.running, .cancel, .pause, nil), (.running, .cancel, .resume, nil),
        (.paused, nil, .resume, .become(.queued)), (.paused, nil, .cancel, .become(.cancelled)), (.paused, nil, .pause, nil), (.paused, nil, .start, nil),
        (.completed, nil, .cancel, nil), (.completed, nil, .resume, nil), (.failed, nil, .start, nil), (.cancelled, nil, .cancel, nil),
    ]

    @Test(arguments: rules)
    func `allow what leads on, and name the conflict otherwise`(rule: (AgentTask.State, TaskAction?, TaskAction, AgentTask.Effect?)) {
        let (state, requested, action, expected) = rule
        var task = AgentTask.sample()
        task.state = state
        task.requested = requested
        do throws(RequestProblem) {
            #expect(try task.effect(of: action, hasWorker: true) == expected)
        } catch {
            #expect(expected == nil, "\(state) \(action): \(error)")
            guard case .conflict(let reason) = error, reason.contains(task.id.rawValue) else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test(arguments: [
        (nil, .cancel, .become(.cancelled)), (.cancel, .cancel, .become(.cancelled)), (.pause, .cancel, .become(.cancelled)),
        (nil, .pause, .become(.paused)), (.pause, .pause, .become(.paused)), (.pause, .resume, .withdraw),
    ] as [(TaskAction?, TaskAction, AgentTask.Effect)])
    func `without a worker there is nobody to ask`(rule: (requested: TaskAction?, action: TaskAction, effect: AgentTask.Effect)) throws {
        var task = AgentTask.sample()
        task.state = .running
        task.requested = rule.requested
        #expect(try task.effect(of: rule.action, hasWorker: false) == rule.effect)
    }
}

extension Workspace.ID {
    static let first = Self(rawValue: 1)!
}

extension AgentTask {
    static func sample(seed: UInt64 = 1) -> AgentTask {
        var generator = SplitMix64(seed: seed)
        return AgentTask(id: .random(using: &generator), workspaceID: .first)
    }
}
