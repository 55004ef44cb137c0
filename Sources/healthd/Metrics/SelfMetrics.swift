import Probes
import Vitals

func families(of process: ProcessReading) -> [MetricFamily] {
    typealias Names = Catalogue.Process
    return [
        MetricFamily(Names.cpuSeconds, process.cpuSeconds),
        MetricFamily(Names.residentMemory, process.residentBytes),
        MetricFamily(Names.residentMemoryPeak, process.peakResidentBytes),
        MetricFamily(Names.virtualMemory, process.virtualBytes),
        MetricFamily(Names.openFDs, process.openFDs),
        MetricFamily(Names.maxFDs, process.maxFDs),
        MetricFamily(Names.threads, process.threads),
        MetricFamily(Names.startTime, process.startTimeSeconds),
    ]
}

func families(of http: HTTPStatistics.Snapshot) -> [MetricFamily] {
    var duration = MetricFamily(Catalogue.Exposition.requestDuration)
    for (key, times) in http.durations { duration.add(times, key.handler, key.code) }
    var inFlight = MetricFamily(Catalogue.Exposition.requestsInFlight)
    for (handler, count) in http.inFlight { inFlight.add(count, handler) }
    var rungs = MetricFamily(Catalogue.Degrading.answers)
    for (key, count) in http.rungs { rungs.add(count, key.handler, key.rung.rawValue) }
    return [duration, inFlight, rungs]
}

func families(of identity: ProgramIdentity) -> [MetricFamily] {
    var info = MetricFamily(Catalogue.Build.info)
    info.add(info: identity.version, identity.swift, identity.libpq)
    return [info]
}

/// The watchdog, the configuration and the log, as the lifecycle knows them.
struct LifecycleReading: Sendable {
    var watchdogPingsSent = 0
    var watchdogPingsWithheld = 0
    var noticesFailed = 0
    /// nil without a watchdog.
    var watchdogInterval: Duration?
    var lastReloadSucceeded = true
    var lastGoodReload: WallTime?
    var logLinesDropped = 0
}

func families(of lifecycle: LifecycleReading) -> [MetricFamily] {
    var pings = MetricFamily(Catalogue.Watchdog.pings)
    pings.add(lifecycle.watchdogPingsSent, "sent")
    pings.add(lifecycle.watchdogPingsWithheld, "withheld")
    return [
        pings,
        MetricFamily(Catalogue.Watchdog.failedNotices, lifecycle.noticesFailed),
        MetricFamily(Catalogue.Watchdog.interval, lifecycle.watchdogInterval?.seconds),
        MetricFamily(Catalogue.Exposition.configLastReloadSuccess, lifecycle.lastReloadSucceeded ? 1 : 0),
        MetricFamily(Catalogue.Exposition.configLastReloadTime, lifecycle.lastGoodReload?.secondsSince1970),
        MetricFamily(Catalogue.Log.droppedLines, lifecycle.logLinesDropped),
    ]
}

/// Use of every bounded resource, 1 is full.
struct SaturationReading: Sendable {
    var resource: String
    var target: String
    var ratio: Double?

    init(_ resource: String, target: String, ratio: Double?) {
        self.resource = resource
        self.target = target
        self.ratio = ratio
    }

    /// Absent where the limit is unknown or none.
    init(_ resource: String, target: String, used: Double?, of limit: Double?) {
        self.init(resource, target: target, ratio: used.flatMap { used in limit.flatMap { $0 > 0 ? used / $0 : nil } })
    }
}

func families(of saturations: [SaturationReading]) -> [MetricFamily] {
    var family = MetricFamily(Catalogue.Saturation.ratio)
    for saturation in saturations { family.add(saturation.ratio, saturation.resource, saturation.target) }
    return [family]
}
