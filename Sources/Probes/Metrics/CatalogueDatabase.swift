extension Catalogue {
    /// The pool this process owns.
    public enum Pool {
        public static let connections = MetricDefinition(
            "healthd_pool_connections", .gauge, ["pool", "state"],
            help: "Connections in the pool by state: idle, in_use, connecting, recovering, retiring.")
        public static let connectionsMax = MetricDefinition(
            "healthd_pool_connections_max", .gauge, ["pool"], help: "Configured upper limit of the pool.")
        public static let connectionsMin = MetricDefinition(
            "healthd_pool_connections_min", .gauge, ["pool"], help: "Configured number of connections kept open.")
        public static let waiters = MetricDefinition(
            "healthd_pool_waiters", .gauge, ["pool"], help: "Callers waiting for a connection now.")
        public static let waitersPeak = MetricDefinition(
            "healthd_pool_waiters_peak", .gauge, ["pool", "window"],
            help: "Most callers waiting at once within the window, so that a burst between two scrapes is not lost.")
        public static let oldestWait = MetricDefinition(
            "healthd_pool_oldest_wait_seconds", .gauge, ["pool"],
            help: "How long the caller first in the queue has waited; absent when nobody waits.")
        public static let busySeconds = MetricDefinition(
            "healthd_pool_busy_seconds_total", .counter, ["pool"],
            help: "Connection seconds in use; its rate divided by the maximum is the exact mean utilisation.")
        public static let exhaustedSeconds = MetricDefinition(
            "healthd_pool_exhausted_seconds_total", .counter, ["pool"], help: "Time during which no connection was free.")
        public static let acquireDuration = MetricDefinition(
            "healthd_pool_acquire_duration_seconds", .histogram, ["pool", "outcome"],
            help: "Time from asking for a connection to getting one or giving up.")
        public static let acquireTimeouts = MetricDefinition(
            "healthd_pool_acquire_timeouts_total", .counter, ["pool"],
            help: "Acquisitions given up because the deadline was reached.")
        public static let useDuration = MetricDefinition(
            "healthd_pool_use_duration_seconds", .histogram, ["pool"], help: "Time a connection was held by its borrower.")
        public static let createDuration = MetricDefinition(
            "healthd_pool_create_duration_seconds", .histogram, ["pool", "outcome"], help: "Time to open a connection.")
        public static let opened = MetricDefinition(
            "healthd_pool_opened_total", .counter, ["pool"],
            help: "Connections opened; a steady rise without load means they do not live long.")
        public static let closed = MetricDefinition(
            "healthd_pool_closed_total", .counter, ["pool", "reason"], help: "Connections closed by reason.")
        public static let oldestCheckoutAge = MetricDefinition(
            "healthd_pool_oldest_checkout_age_seconds", .gauge, ["pool"],
            help: "Age of the connection held longest (leak suspicion); absent when none is held.")
        public static let leaksSuspected = MetricDefinition(
            "healthd_pool_leaks_suspected_total", .counter, ["pool"], help: "Checkouts that outlived the leak threshold.")

        public static let leaksReturned = MetricDefinition(
            "healthd_pool_leaks_returned_total", .counter, ["pool"],
            help: "Suspected leaks that were given back after all; the rest of the suspected are still out.")
        public static let shed = MetricDefinition(
            "healthd_pool_shed_total", .counter, ["pool", "class", "reason"],
            help: "Callers turned away although the database answers, by class and reason: queue_full, too_late, overload, expired.")
        public static let overloaded = MetricDefinition(
            "healthd_pool_overloaded", .gauge, ["pool"],
            help: "1 while the queue is standing: only those are let in who are served soon, and who has no time left is passed over.")
        public static let batches = MetricDefinition(
            "healthd_pool_batches_total", .counter, ["pool"], help: "Round trips in which single statements of several callers were sent.")
        public static let batchedStatements = MetricDefinition(
            "healthd_pool_batched_statements_total", .counter, ["pool"],
            help: "Statements sent in batches; divided by the batches, how many share a round trip.")

        static let all = [
            leaksReturned, shed, overloaded, batches, batchedStatements,
            connections, connectionsMax, connectionsMin, waiters, waitersPeak, oldestWait, busySeconds, exhaustedSeconds,
            acquireDuration, acquireTimeouts, useDuration, createDuration, opened, closed, oldestCheckoutAge,
            leaksSuspected,
        ]
    }

    /// One family for every bounded resource.
    public enum Saturation {
        public static let ratio = MetricDefinition(
            "healthd_saturation_ratio", .gauge, ["resource", "target"],
            help: "Use of a bounded resource, 1 is full; above 1 callers wait for it.")

        static let all = [ratio]
    }

    public enum Query {
        public static let duration = MetricDefinition(
            "healthd_query_duration_seconds", .histogram, ["pool", "operation", "outcome"],
            help: "Time of a query without the wait for a connection; operation is its first word, and with may read or write.")
        public static let errors = MetricDefinition(
            "healthd_query_errors_total", .counter, ["pool", "sqlstate_class"], help: "Failed queries by SQLSTATE class.")

        static let all = [duration, errors]
    }

    /// The PostgreSQL server, as the probe's own connection sees it.
    public enum Postgres {
        public static let backends = MetricDefinition(
            "healthd_postgres_backends", .gauge, ["target", "state"], help: "Client backends by state.")
        public static let backendsMax = MetricDefinition(
            "healthd_postgres_backends_max", .gauge, ["target"], help: "max_connections less the reserved ones.")
        public static let lockWaiters = MetricDefinition(
            "healthd_postgres_lock_waiters", .gauge, ["target"], help: "Backends waiting for a lock.")
        public static let lockWaitOldest = MetricDefinition(
            "healthd_postgres_lock_wait_oldest_seconds", .gauge, ["target"], help: "Longest present lock wait.")
        public static let idleInTransactionOldest = MetricDefinition(
            "healthd_postgres_idle_in_transaction_oldest_seconds", .gauge, ["target"],
            help: "Age of the oldest transaction left open idle; it holds back vacuum and may hold locks.")
        public static let bufferReads = MetricDefinition(
            "healthd_postgres_buffer_reads_total", .counter, ["target", "source"],
            help: "Block reads by where they were found: cache or disk.")
        public static let deadlocks = MetricDefinition(
            "healthd_postgres_deadlocks_total", .counter, ["target"], help: "Deadlocks in the database watched.")
        public static let tempBytes = MetricDefinition(
            "healthd_postgres_temp_bytes_total", .counter, ["target"],
            help: "Bytes written to temporary files; a rise means work_mem is too small for what runs.")
        public static let transactions = MetricDefinition(
            "healthd_postgres_transactions_total", .counter, ["target", "outcome"], help: "Transactions ended: commit or rollback.")
        public static let xidAge = MetricDefinition(
            "healthd_postgres_xid_age_ratio", .gauge, ["target"], help: "Oldest transaction id age over the wraparound limit.")

        static let all = [
            backends, backendsMax, lockWaiters, lockWaitOldest, idleInTransactionOldest, bufferReads, deadlocks, tempBytes,
            transactions, xidAge,
        ]
    }
}
