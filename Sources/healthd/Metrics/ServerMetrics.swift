import Probes
import Vitals

/// What the PostgreSQL probe found last. A value the role may not see is absent.
func families(ofPostgres found: Measurement, target: String = "postgres") -> [MetricFamily] {
    typealias Names = Catalogue.Postgres
    let values = found.values
    var backends = MetricFamily(Names.backends)
    for state in ["active", "idle", "idle_in_transaction", "waiting"] { backends.add(values["backends_\(state)"], target, state) }
    var reads = MetricFamily(Names.bufferReads)
    for source in ["cache", "disk"] { reads.add(values["buffer_reads_\(source)"], target, source) }
    var transactions = MetricFamily(Names.transactions)
    for outcome in ["commit", "rollback"] { transactions.add(values["transactions_\(outcome)"], target, outcome) }
    return [
        backends, reads, transactions,
        MetricFamily(Names.backendsMax, values["backends_max"], target),
        MetricFamily(Names.lockWaiters, values["lock_waiters"], target),
        MetricFamily(Names.lockWaitOldest, values["lock_wait_oldest_seconds"], target),
        MetricFamily(Names.idleInTransactionOldest, values["idle_in_transaction_oldest_seconds"], target),
        MetricFamily(Names.deadlocks, values["deadlocks"], target),
        MetricFamily(Names.tempBytes, values["temp_bytes"], target),
        MetricFamily(Names.xidAge, values["xid_age_ratio"], target),
    ]
}

/// What the Redis probe found last.
func families(ofRedis found: Measurement, target: String = "redis") -> [MetricFamily] {
    typealias Names = Catalogue.Redis
    let values = found.values
    var clients = MetricFamily(Names.clients)
    for state in ["connected", "blocked"] { clients.add(values["clients_\(state)"], target, state) }
    return [
        clients,
        MetricFamily(Names.clientsMax, values["clients_max"], target),
        MetricFamily(Names.memoryUsed, values["memory_used_bytes"], target),
        MetricFamily(Names.memoryLimit, values["memory_limit_bytes"], target),
        MetricFamily(Names.rejectedConnections, values["rejected_connections"], target),
        MetricFamily(Names.evictedKeys, values["evicted_keys"], target),
    ]
}
