import Testing

@testable import Probes

@Suite struct `Metrics negotiation` {
    @Test(
        arguments: [
            (nil, ExpositionFormat.text),
            ("", .text),
            ("*/*", .text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", .text),
            // Prometheus 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                .openMetrics
            ),
            // Prometheus 3
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                .openMetrics
            ),
            // Protobuf first, which we do not speak.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.2",
                .text
            ),
            ("application/openmetrics-text", .openMetrics),
            ("application/openmetrics-text; version=0.0.1", .text),
            ("application/openmetrics-text; version=\"1.0.0\"", .openMetrics),
            ("APPLICATION/OpenMetrics-Text;VERSION=1.0.0", .openMetrics),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.8", .text),
            ("text/plain;q=0, application/openmetrics-text;q=0.1", .openMetrics),
            ("application/openmetrics-text;q=0, */*;q=0.1", .text),
            ("application/openmetrics-text;q=nonsense", .text),
            ("application/json", .text),
            (";;;,,,q=1", .text),
        ] as [(String?, ExpositionFormat)])
    func `a scraper gets the acceptable format it prefers`(accept: String?, format: ExpositionFormat) {
        #expect(ExpositionFormat.negotiated(accept: accept) == format)
    }

    @Test(
        arguments: [
            (nil, false), ("", false), ("gzip", true), ("deflate, gzip;q=1.0, *;q=0.5", true), ("gzip;q=0", false),
            ("identity", false),
            ("*", true), ("*;q=0", false), ("gzip;q=0, *", false), ("x-gzip", true), ("GZIP", true), ("br", false),
        ] as [(String?, Bool)])
    func `gzip only for those who take it`(header: String?, accepted: Bool) {
        #expect(acceptsGzip(acceptEncoding: header) == accepted)
    }
}
