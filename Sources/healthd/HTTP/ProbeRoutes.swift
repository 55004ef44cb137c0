import AppCore
import HTTPTypes
import Hummingbird

/// `/livez`: should this process be restarted? `/readyz`: may requests be sent here?
///
/// Neither fails because PostgreSQL or Redis does: a restart would not help, and taking every instance out at once would turn a
/// fault into an outage. A database that is down is `/api/health`'s to tell.
func addProbeRoutes(to routes: inout Routes, liveness: [SelfCheck], readiness: [SelfCheck]) {
    for (path, checks) in [("livez", liveness), ("readyz", readiness)] {
        routes.on(.get, "/\(path)", as: path, class: .critical) { request, _ in
            let excluded = request.uri.queryParameters[values: "exclude"].map { String($0) }
            let report = CheckReport(path, checks: checks, excluded: excluded, verbose: request.hasQuery("verbose"))
            return .text(report.text, status: report.isGood ? .ok : .serviceUnavailable)
        }
    }
}
