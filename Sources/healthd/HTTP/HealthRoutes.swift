import AppCore
import HTTPTypes
import Hummingbird
import Probes
import Vitals

/// The verdict for programs, and the pool.
func addHealthRoutes(
    to routes: inout Routes, identity: ProgramIdentity, board: @escaping @Sendable () -> BoardSnapshot,
    pool: @escaping @Sendable () -> PoolStatistics, holders: @escaping @Sendable () -> PoolHolders,
    look: @escaping @Sendable () -> BackendLook? = { nil }, time: any TimeSource
) {
    routes.on(.get, "/api/health", as: "health") { _, _ in
        let document = HealthDocument(board(), identity: identity)
        return try .json(
            document, status: document.status == .fail ? .serviceUnavailable : .ok, contentType: HealthDocument.contentType)
    }
    routes.on(.get, "/api/health/pool", as: "health_pool") { _, _ in
        let state = board().component("pool")?.state ?? .unknown
        return .text(PoolHealthDocument(pool(), state: state).text, contentType: "application/json")
    }
    routes.on(.get, "/api/health/pool/holders", as: "health_pool_holders") { _, _ in
        // The holders first: a look taken meanwhile is then told to be older than it is, never younger.
        let holders = holders()
        return try .json(PoolHoldersDocument(holders, look: look(), max: pool().max, asOf: time.wallNow()))
    }
}
