import AppCore
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Vitals

/// What only somebody on this machine may do.
///
/// - Parameter reload: reads the configuration again and puts it in force; throws what is wrong with it, and then the last good
///   one stays. Returns a line for the person who asked.
func addOperationsRoutes(to routes: inout Routes, reload: @escaping @Sendable () async throws -> String) {
    routes.on(.post, "/-/reload", as: "reload", class: .critical, within: .seconds(30)) { request, context in
        try requireLocalOperator(request, isFromLoopback: context.isFromLoopback)
        do {
            return .text(try await reload() + "\n")
        } catch {
            throw ErrorAnswer(.unprocessableContent, "configuration_rejected", "\(error)")
        }
    }
}

/// `POST /api/demo/hold`: callers that each take a connection and sleep in the database, so that saturation can be watched.
func addDemoRoutes(to routes: inout Routes, database: Database) {
    struct Hold: Decodable {
        var callers: Int
        var seconds: Double
    }
    struct Held: Encodable {
        var callers: Int
        var seconds: Double
        var failures: [String]
    }
    routes.on(.post, "/api/demo/hold", as: "demo_hold", within: .seconds(300)) { request, context in
        try requireLocalOperator(request, isFromLoopback: context.isFromLoopback)
        let hold = try await request.json(Hold.self)
        guard (1...100).contains(hold.callers) else {
            throw RequestProblem.invalid(field: "callers", reason: "is \(hold.callers); expected 1 to 100")
        }
        guard (0...60).contains(hold.seconds) else {
            throw RequestProblem.invalid(field: "seconds", reason: "is \(hold.seconds); expected 0 to 60")
        }
        let patience = min(.seconds(300), .seconds(hold.seconds) * hold.callers + .seconds(5))
        let failures = await withTaskGroup(of: String?.self) { group in
            for _ in 0..<hold.callers {
                group.addTask {
                    do {
                        _ = try await database.query("SELECT pg_sleep(\(hold.seconds))", for: "demo.hold", within: patience)
                        return nil
                    } catch {
                        return "\(error)"
                    }
                }
            }
            return await group.reduce(into: [String]()) { failures, failure in
                if let failure { failures.append(failure) }
            }
        }
        return try .json(Held(callers: hold.callers, seconds: hold.seconds, failures: failures))
    }
}

/// - Throws: 403 for a request from another machine, or one that a page of another site made a browser send.
func requireLocalOperator(_ request: Request, isFromLoopback: Bool) throws {
    guard isFromLoopback else {
        throw ErrorAnswer(.forbidden, "forbidden", "only requests from this machine may do this")
    }
    if let site = HTTPField.Name("Sec-Fetch-Site").flatMap({ request.headers[$0] }), !["same-origin", "none"].contains(site) {
        throw ErrorAnswer(.forbidden, "forbidden", "a page of another site may not do this")
    }
}
