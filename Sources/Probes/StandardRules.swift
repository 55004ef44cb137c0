extension Rule {
    /// The pool is full, or callers wait: critical at once, resolved after a dwell.
    ///
    /// The value is the exact mean busy share, or the demand once callers wait (`saturation`, 1 is full).
    public static func poolSaturation(probe: ProbeID = "pool") -> Rule {
        Rule(
            name: "pool-saturation", component: "pool", probe: probe,
            condition: .value(Value("saturation", unit: .ratio, degraded: 0.80, critical: 0.95, leave: 0.70)),
            leaveAfter: .seconds(10))
    }

    /// Nobody can have a connection: none stands, and none can be opened. What keeps the server away is told by the rule that asks the server.
    public static func poolUnavailable(probe: ProbeID = "pool") -> Rule {
        Rule(
            name: "pool-unavailable", component: "pool", probe: probe,
            condition: .value(Value("unavailable", unit: .seconds, degraded: nil, critical: 1, leave: 1, absence: .clear)),
            title: "time without a connection", leaveAfter: .milliseconds(300), toldBy: "postgres-down")
    }

    /// The target refuses, hangs or turns us away.
    ///
    /// With an interval of 1 s and a timeout of 500 ms, stopped and frozen alike are critical within about 2 s:
    /// the runner repeats a look that changed its answer after a fifth of the interval.
    public static func answers(_ component: ComponentID, probe: ProbeID? = nil) -> Rule {
        Rule(
            name: "\(component)-down", component: component, probe: probe ?? ProbeID(component.rawValue),
            condition: .failures(Failures()), title: component.rawValue, leaveAfter: .milliseconds(300))
    }

    /// Slow queries: the p99 of what ran since the last sample.
    public static func queryLatency(degraded: Double = 0.5, critical: Double = 2) -> Rule {
        Rule(
            name: "query-latency", component: "queries", probe: "queries",
            condition: .value(
                Value(
                    "p99", unit: .seconds, degraded: degraded, critical: critical, leave: degraded * 0.8, votes: Votes(2, of: 3),
                    absence: .clear)),
            title: "query time p99", leaveAfter: .seconds(10))
    }

    /// The cache misses more than it should, when it is asked at all.
    public static func cacheHitRate(component: ComponentID = "redis", probe: ProbeID = "cache", degraded: Double = 0.5) -> Rule {
        Rule(
            name: "cache-hit-rate", component: component, probe: probe,
            condition: .value(
                Value(
                    "hit-ratio", unit: .ratio, direction: .lowerIsWorse, degraded: degraded, critical: nil,
                    leave: min(1, degraded * 1.2), votes: Votes(2, of: 3), absence: .clear)),
            title: "cache hit rate", enterAfter: .seconds(30), leaveAfter: .seconds(10))
    }
}
