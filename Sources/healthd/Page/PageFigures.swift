import AppCore
import Probes
import Vitals

/// The numbers above the tables: each now, and its limit.
extension PageModel.Figure {
    static func pool(_ sources: PageSources) -> [PageModel.Figure] {
        let pool = sources.pool
        var connections = PageModel.Figure(title: "Connections in use", now: "\(pool.leased)", limit: "\(pool.max)")
        connections.share = Double(pool.leased) / Double(max(1, pool.max))
        connections.state = sources.board.component("pool")?.state ?? .unknown
        var parts = ["\(pool.idle) idle"]
        if pool.connecting > 0 { parts.append("\(pool.connecting) connecting") }
        if pool.recovering > 0 { parts.append("\(pool.recovering) recovering") }
        if pool.retiring > 0 { parts.append("\(pool.retiring) retiring") }
        if let oldest = pool.oldestLeaseAge { parts.append("oldest held \(oldest.text)") }
        if let unavailable = pool.unavailable {
            parts = ["no connection can be opened for \(unavailable.since.text): \(unavailable.cause)"]
        }
        connections.detail = parts.joined(separator: ", ")

        var waiting = PageModel.Figure(title: "Callers waiting", now: "\(pool.waiting)", limit: "\(sources.waiterLimit)")
        waiting.share = Double(pool.waiting) / Double(max(1, sources.waiterLimit))
        // A waiter is what saturation is about, however long the queue could get.
        waiting.state = pool.waiting > 0 ? max(connections.state, .degraded) : .healthy
        waiting.detail = pool.oldestWait.map { "oldest waits \($0.text)" } ?? "most at once in the last minute: \(pool.waitingPeak)"
        return [connections, waiting]
    }

    /// The p99 that the rule judged last, of what ran since the sample before.
    static func queries(_ sources: PageSources) -> PageModel.Figure {
        let health = sources.board.rules.first { $0.rule.component == "queries" }
        var figure = PageModel.Figure(title: "Query time, p99", now: health?.value.map { Unit.seconds.text($0) } ?? "none")
        if case .value(let limits)? = health?.rule.condition, let limit = limits.degraded ?? limits.critical {
            figure.limit = limits.unit.text(limit)
            figure.share = health?.value.map { $0 / limit } ?? 0
        }
        figure.state = health?.state ?? .unknown
        let ran = sources.pool.query.values.reduce(0) { $0 + $1.count }
        let failed = sources.pool.query.filter { $0.key.outcome != .ok }.values.reduce(0) { $0 + $1.count }
        figure.detail = "\(ran) since the start, \(failed) failed"
        return figure
    }

    static func cache(_ cache: CacheStatistics) -> PageModel.Figure {
        var figure = PageModel.Figure(
            title: "Cache hits", now: cache.hitRatio.map { Unit.ratio.text($0) } ?? "none")
        let used = Unit.bytes.text(Double(cache.memoryBytes))
        figure.detail = "\(cache.memoryEntries) values, \(used) of \(Unit.bytes.text(Double(cache.memoryLimit)))"
        figure.share = cache.memoryLimit > 0 ? Double(cache.memoryBytes) / Double(cache.memoryLimit) : nil
        if cache.redisBypassed == true {
            figure.state = .degraded
            figure.detail = "without Redis; \(figure.detail ?? "")"
        }
        return figure
    }

    static func tasks(_ tasks: TaskStatistics) -> PageModel.Figure {
        var figure = PageModel.Figure(title: "Tasks running", now: "\(tasks.running)", limit: "\(tasks.limit)")
        figure.share = Double(tasks.running) / Double(max(1, tasks.limit))
        figure.state = tasks.claimFailing ? .degraded : .healthy
        var parts = tasks.backlog.map { ["\($0[.queued] ?? 0) queued"] } ?? ["queue not known"]
        if let oldest = tasks.oldestQueued { parts.append("the oldest for \(oldest.text)") }
        if tasks.claimFailing { parts = ["tasks cannot be claimed from the database"] }
        figure.detail = parts.joined(separator: ", ")
        return figure
    }

    static func streams(_ streams: EventHubStatistics) -> PageModel.Figure {
        var figure = PageModel.Figure(title: "Event streams", now: "\(streams.clients)", limit: "\(streams.limit)")
        figure.share = Double(streams.clients) / Double(max(1, streams.limit))
        figure.state = streams.clients >= streams.limit ? .degraded : .healthy
        figure.detail = "\(streams.dropped) events dropped since the start"
        return figure
    }

    static func process(_ process: ProcessReading) -> PageModel.Figure {
        var figure = PageModel.Figure(
            title: "healthd itself", now: process.residentBytes.map { Unit.bytes.text(Double($0)) } ?? "not known")
        if let open = process.openFDs, let most = process.maxFDs {
            figure.share = Double(open) / Double(max(1, most))
            figure.detail = "\(open) of \(most) descriptors open"
        }
        return figure
    }
}
