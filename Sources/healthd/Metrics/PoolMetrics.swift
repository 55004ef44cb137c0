import AppCore
import Probes
import Vitals

/// The pool and its queries as families.
func families(of pool: PoolStatistics, named name: String = "main") -> [MetricFamily] {
    typealias Names = Catalogue.Pool
    var connections = MetricFamily(Names.connections)
    connections.add(pool.idle, name, "idle")
    connections.add(pool.leased, name, "in_use")
    connections.add(pool.connecting, name, "connecting")
    connections.add(pool.recovering, name, "recovering")
    connections.add(pool.retiring, name, "retiring")

    var acquire = MetricFamily(Names.acquireDuration)
    for (outcome, times) in pool.acquire { acquire.add(times, name, outcome.rawValue) }
    var create = MetricFamily(Names.createDuration, pool.createSucceeded, name, "ok")
    create.add(pool.createFailed, name, "error")
    var closed = MetricFamily(Names.closed)
    for (reason, count) in pool.closed { closed.add(count, name, reason.rawValue) }

    var shed = MetricFamily(Names.shed)
    for (key, count) in pool.shed { shed.add(count, name, key.workClass.rawValue, key.reason.rawValue) }

    var queries = MetricFamily(Catalogue.Query.duration)
    // What has never been run is left out: 18 kinds of 18 series each would be most of the answer.
    for (kind, times) in pool.query where times.count > 0 {
        queries.add(times, name, kind.operation.rawValue, kind.outcome.rawValue)
    }
    var errors = MetricFamily(Catalogue.Query.errors)
    for (sqlStateClass, count) in pool.queryErrorsBySQLStateClass { errors.add(count, name, sqlStateClass) }

    return [
        connections, acquire, create, closed, shed, queries, errors,
        MetricFamily(Names.connectionsMax, pool.max, name),
        MetricFamily(Names.connectionsMin, pool.min, name),
        MetricFamily(Names.waiters, pool.waiting, name),
        MetricFamily(Names.waitersPeak, pool.waitingPeak, name, "60s"),
        MetricFamily(Names.oldestWait, pool.oldestWait?.seconds, name),
        MetricFamily(Names.busySeconds, pool.busySeconds, name),
        MetricFamily(Names.exhaustedSeconds, pool.exhaustedSeconds, name),
        MetricFamily(Names.acquireTimeouts, pool.acquire[.timeout]?.count, name),
        MetricFamily(Names.useDuration, pool.use, name),
        MetricFamily(Names.opened, pool.opened, name),
        MetricFamily(Names.oldestCheckoutAge, pool.oldestLeaseAge?.seconds, name),
        MetricFamily(Names.leaksSuspected, pool.leaksSuspected, name),
        MetricFamily(Names.leaksReturned, pool.leaksReturned, name),
        MetricFamily(Names.overloaded, pool.isOverloaded ? 1 : 0, name),
        MetricFamily(Names.batches, pool.batches, name),
        MetricFamily(Names.batchedStatements, pool.batchedStatements, name),
    ]
}
