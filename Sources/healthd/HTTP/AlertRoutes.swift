import HTTPTypes
import Hummingbird
import Probes
import Vitals

func addAlertRoutes(to routes: inout Routes, alerts: @escaping @Sendable () -> AlertsSnapshot, time: any TimeSource) {
    routes.on(.get, "/api/alerts", as: "alerts") { _, _ in
        try .json(AlertsDocument(alerts(), asOf: time.wallNow()))
    }
}
