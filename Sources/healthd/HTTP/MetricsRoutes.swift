import HTTPTypes
import Hummingbird
import Probes

/// `/metrics`: one scrape, from memory.
func addMetricsRoutes(to routes: inout Routes, exposition: ExpositionCache) {
    routes.on(.get, "/metrics", as: "metrics") { request, _ in
        let answer = exposition.answer(
            ExpositionFormat.negotiated(accept: joined(request.headers[values: .accept])),
            gzip: acceptsGzip(acceptEncoding: joined(request.headers[values: .acceptEncoding])))
        var response = Response.data(answer.bytes, contentType: answer.format.contentType)
        response.headers[.vary] = "Accept, Accept-Encoding"
        if answer.isGzip { response.headers[.contentEncoding] = "gzip" }
        return response
    }
}

/// Several header lines of one name are one list. Source: RFC 9110, 5.3.
private func joined(_ values: [String]) -> String? {
    values.isEmpty ? nil : values.joined(separator: ",")
}
