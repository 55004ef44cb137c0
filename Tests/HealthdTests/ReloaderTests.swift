import HTTPTypes
import Hummingbird
import NIOCore
import Probes
import Synchronization
import TestServers
import Testing
import Vitals

@testable import healthd

/// What a reload puts in force while the program runs, and what one that is refused leaves as it was.
@Suite struct `What a reload leaves in force` {
    private func receivers(_ program: Program) -> [String] { program.dispatcher.snapshot().receivers.map(\.name) }

    private func degraded(_ program: Program) -> Double? {
        guard case .value(let value)? = program.board.rules.first(where: { $0.name == "pool-saturation" })?.condition else { return nil }
        return value.degraded
    }

    @Test func `receivers and thresholds are those of the last good file, and whether the last one was good is known`() async throws {
        try await withProgram { program, reloader, write in
            #expect(receivers(program) == [] && degraded(program) == 0.8 && reloader.status.succeeded)
            try write(
                """
                rules: { pool-saturation: { degraded: 0.6 } }
                receivers:
                  - { name: oncall, webhook: "http://127.0.0.1:1/hook" }
                """)
            let said = try reloader.reload()
            #expect(said.hasPrefix("took effect: receivers[0].name, "), "\(said)")
            #expect(receivers(program) == ["oncall"] && degraded(program) == 0.6)

            try write("rules: { pool-saturation: { degraded: plenty } }")
            #expect(throws: ConfigurationProblems.self) { try reloader.reload() }
            #expect(receivers(program) == ["oncall"] && degraded(program) == 0.6 && !reloader.status.succeeded)

            try write("")
            try reloader.reload()
            #expect(receivers(program) == [] && degraded(program) == 0.8 && reloader.status.succeeded)
        }
    }

    /// As if a probe had just found this.
    private func find(_ result: Result<Measurement, ProbeFailure>, of part: String, in program: Program) {
        program.board.record(
            Sample(
                probe: ProbeID(part), component: ComponentID(part), at: program.time.now(), wall: program.time.wallNow(), duration: .milliseconds(1),
                interval: .seconds(1), result: result))
    }

    @Test func `A11: an alert links to this machine, and from a reload on to the address people use`() async throws {
        let bodies = Mutex<[String]>([])
        try await `HTTP server`.serve({ routes in
            routes.on(.post, "/hook", as: "hook") { request, _ in
                let body = String(buffer: try await request.jsonBody())
                bodies.withLock { $0.append(body) }
                return .text("taken")
            }
        }) { server in
            let file = "receivers:\n  - { name: oncall, webhook: \"http://127.0.0.1:\(server.port)/hook\" }\n"
            try await withProgram { program, reloader, write in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { await program.dispatcher.run() }
                    try write(file)
                    try reloader.reload()
                    find(.success(Measurement(values: ["saturation": 1.5])), of: "pool", in: program)
                    try await until("the pool's is told") { bodies.withLock { $0.count } == 1 }
                    try write(file + "external-url: https://health.example.org/app\n")
                    try reloader.reload()
                    for _ in 0..<2 { find(.failure(ProbeFailure(.unreachable, "connection refused")), of: "postgres", in: program) }
                    try await until("the database's is told") { bodies.withLock { $0.count } == 2 }
                    group.cancelAll()
                }
            }
        }
        let told = bodies.withLock { $0 }
        try #require(told.count == 2)
        #expect(told[0].contains(#""alertname":"pool-saturation""#) && told[0].contains("\"externalURL\":\"http://\(hostName()):9798/\""), "\(told[0])")
        #expect(told[1].contains(#""alertname":"postgres-down""#) && told[1].contains(#""externalURL":"https://health.example.org/app""#), "\(told[1])")
    }
}
