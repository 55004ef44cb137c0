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
    return [duration, inFlight]
}

func families(of identity: ProgramIdentity) -> [MetricFamily] {
    var info = MetricFamily(Catalogue.Build.info)
    info.add(info: identity.version, identity.swift, identity.libpq)
    return [info]
}

/// Use of every bounded resource, 1 is full.
struct SaturationReading: Sendable {
    var resource: String
    var target: String
    var ratio: Double?

    /// nil where the limit is unknown or none.
    init(_ resource: String, target: String, used: Int?, of limit: Int?) {
        self.resource = resource
        self.target = target
        ratio = used.flatMap { used in limit.flatMap { $0 > 0 ? Double(used) / Double($0) : nil } }
    }
}

func families(of saturations: [SaturationReading]) -> [MetricFamily] {
    var family = MetricFamily(Catalogue.Saturation.ratio)
    for saturation in saturations { family.add(saturation.ratio, saturation.resource, saturation.target) }
    return [family]
}
