import Testing
import Vitals

@testable import Probes

@Suite struct `Metrics as text` {
    static let requests = MetricDefinition(
        "app_requests_total", .counter, ["path", "code"], help: "Requests.\nA \\ and a \" in help.")
    static let busy = MetricDefinition("app_busy_seconds_total", .counter, help: "Busy time.")
    static let load = MetricDefinition("app_load_ratio", .gauge, help: "Load.")
    static let wait = MetricDefinition("app_wait_seconds", .histogram, ["pool"], help: "Wait.")
    static let build = MetricDefinition("app_build_info", .info, ["version"], help: "Build.")
    static let state = MetricDefinition("app_state", .stateSet, ["part", "state"], help: "State.")

    static var families: [MetricFamily] {
        var requests = MetricFamily(requests, 7, "/b", "500")
        requests.add(3, "/a\\\"\n", "200")
        requests.add(Int?.none, "/unknown", "200")
        var state = MetricFamily(state)
        state.add(state: "critical", of: ["healthy", "critical"], "pool")
        var buildInfo = MetricFamily(build)
        buildInfo.add(info: "1.0")
        return [
            state,
            MetricFamily(load, 0.25),
            requests,
            MetricFamily(wait, HistogramSnapshot(bounds: [0.5, 1], counts: [2, 0, 1], sum: 31.5), "main"),
            buildInfo,
            MetricFamily(busy, 12.0),
            MetricFamily(load, Double?.none),
        ]
    }

    @Test func `text 0.0.4 is sorted, escaped and exact`() {
        #expect(
            string(PrometheusText.render(Self.families)) == #"""
                # HELP app_build_info Build.
                # TYPE app_build_info gauge
                app_build_info{version="1.0"} 1
                # HELP app_busy_seconds_total Busy time.
                # TYPE app_busy_seconds_total counter
                app_busy_seconds_total 12
                # HELP app_load_ratio Load.
                # TYPE app_load_ratio gauge
                app_load_ratio 0.25
                # HELP app_requests_total Requests.\nA \\ and a " in help.
                # TYPE app_requests_total counter
                app_requests_total{path="/a\\\"\n",code="200"} 3
                app_requests_total{path="/b",code="500"} 7
                # HELP app_state State.
                # TYPE app_state gauge
                app_state{part="pool",state="critical"} 1
                app_state{part="pool",state="healthy"} 0
                # HELP app_wait_seconds Wait.
                # TYPE app_wait_seconds histogram
                app_wait_seconds_bucket{pool="main",le="0.5"} 2
                app_wait_seconds_bucket{pool="main",le="1"} 2
                app_wait_seconds_bucket{pool="main",le="+Inf"} 3
                app_wait_seconds_sum{pool="main"} 31.5
                app_wait_seconds_count{pool="main"} 3

                """#)
    }

    @Test func `OpenMetrics names families without suffixes, gives units and ends in EOF`() {
        #expect(
            string(OpenMetricsText.render(Self.families)) == #"""
                # TYPE app_build info
                # HELP app_build Build.
                app_build_info{version="1.0"} 1
                # TYPE app_busy_seconds counter
                # UNIT app_busy_seconds seconds
                # HELP app_busy_seconds Busy time.
                app_busy_seconds_total 12
                # TYPE app_load_ratio gauge
                # UNIT app_load_ratio ratio
                # HELP app_load_ratio Load.
                app_load_ratio 0.25
                # TYPE app_requests counter
                # HELP app_requests Requests.\nA \\ and a \" in help.
                app_requests_total{path="/a\\\"\n",code="200"} 3
                app_requests_total{path="/b",code="500"} 7
                # TYPE app_state gauge
                # HELP app_state State.
                app_state{part="pool",state="critical"} 1
                app_state{part="pool",state="healthy"} 0
                # TYPE app_wait_seconds histogram
                # UNIT app_wait_seconds seconds
                # HELP app_wait_seconds Wait.
                app_wait_seconds_bucket{pool="main",le="0.5"} 2
                app_wait_seconds_bucket{pool="main",le="1.0"} 2
                app_wait_seconds_bucket{pool="main",le="+Inf"} 3
                app_wait_seconds_sum{pool="main"} 31.5
                app_wait_seconds_count{pool="main"} 3
                # EOF

                """#)
    }

    @Test func `nothing known is nothing rendered`() {
        #expect(PrometheusText.render([]) == [])
        #expect(string(OpenMetricsText.render([MetricFamily(Self.load, Double?.none)])) == "# EOF\n")
    }

    @Test(arguments: [
        (0.0, "0"), (-0.0, "0"), (1, "1"), (-3, "-3"), (0.1, "0.1"), (31.499999999999996, "31.499999999999996"),
        (1e15, "1000000000000000"),
        (9_007_199_254_740_991, "9007199254740991"), (1e16, "1e+16"), (1.5e300, "1.5e+300"),
        (Double.leastNonzeroMagnitude, "5e-324"),
        (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"), (1_800_000_000.25, "1800000000.25"),
    ])
    func `a number reads back as itself`(number: Double, text: String) throws {
        #expect(try #require(line(MetricFamily(Self.load, number))) == "app_load_ratio \(text)")
    }

    @Test(arguments: [(Int.min, "-9223372036854775808"), (.max, "9223372036854775807"), (0, "0"), (10, "10"), (-907, "-907")])
    func `an integer keeps every digit`(integer: Int, text: String) throws {
        #expect(try #require(line(MetricFamily(Self.load, integer))) == "app_load_ratio \(text)")
    }

    @Test func `families of one name are rendered together and a repeated series once`() {
        let families = [
            MetricFamily(Self.wait, HistogramSnapshot(bounds: [1], counts: [0, 0], sum: 0), "b"),
            MetricFamily(Self.requests, 1, "/", "200"),
            MetricFamily(Self.wait, HistogramSnapshot(bounds: [1], counts: [0, 0], sum: 0), "a"),
            MetricFamily(Self.requests, 2, "/", "200"),
            // Equal to Swift, different bytes to a scraper.
            MetricFamily(Self.requests, 3, "e\u{301}", "200"), MetricFamily(Self.requests, 4, "\u{e9}", "200"),
        ]
        let lines = string(PrometheusText.render(families)).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(lines.filter { $0.hasPrefix("app_requests_total{path=\"/\"") } == ["app_requests_total{path=\"/\",code=\"200\"} 1"])
        #expect(lines.count { $0.hasPrefix("app_requests_total") } == 3)
        #expect(
            lines.filter { $0.contains("_count") } == [
                "app_wait_seconds_count{pool=\"a\"} 0", "app_wait_seconds_count{pool=\"b\"} 0",
            ])
    }

    @Test func `the series limit cuts and counts`() {
        var many = MetricFamily(Self.requests)
        for index in 0..<10 { many.add(index, "/\(index)", "200") }
        let wait = MetricFamily(Self.wait, HistogramSnapshot(bounds: [1], counts: [0, 0], sum: 0), "a")
        let (kept, dropped) = [many, wait].limited(toSeries: 8)
        #expect(kept.reduce(0) { $0 + $1.seriesCount } == 8)
        #expect(dropped == 6)
        #expect([many, wait].limited(toSeries: 14).dropped == 0)
    }

    private func line(_ family: MetricFamily) -> String? {
        string(PrometheusText.render([family])).split(separator: "\n").last.map(String.init)
    }

    private func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
