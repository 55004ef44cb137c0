extension Catalogue {
    /// The tiered cache: this process's memory first, then Redis.
    public enum Cache {
        public static let requests = MetricDefinition(
            "healthd_cache_requests_total", .counter, ["cache", "operation", "result"],
            help: "Cache lookups by where they were answered, and writes to Redis by result.")
        public static let operationDuration = MetricDefinition(
            "healthd_cache_operation_duration_seconds", .histogram, ["cache", "operation"],
            help: "Time of an operation that Redis answered.")
        public static let fallbacks = MetricDefinition(
            "healthd_cache_fallbacks_total", .counter, ["cache", "reason"],
            help: "Lookups served without Redis, by reason: down, slow, open (it failed a moment ago), suspect (it may be stale).")
        public static let loadDuration = MetricDefinition(
            "healthd_cache_load_duration_seconds", .histogram, ["cache"], help: "Time to load a value that no tier had.")
        public static let loadFailures = MetricDefinition(
            "healthd_cache_load_failures_total", .counter, ["cache"], help: "Loads that failed.")
        public static let coalesced = MetricDefinition(
            "healthd_cache_coalesced_total", .counter, ["cache"],
            help: "Lookups that waited for a load another had begun instead of asking the database too.")
        public static let evictions = MetricDefinition(
            "healthd_cache_evictions_total", .counter, ["cache"],
            help: "Values the memory tier gave up to stay within its limit; a rise means it is too small.")
        public static let memory = MetricDefinition(
            "healthd_cache_memory_bytes", .gauge, ["cache"], help: "Size of the values in the memory tier.")
        public static let memoryLimit = MetricDefinition(
            "healthd_cache_memory_limit_bytes", .gauge, ["cache"], help: "Configured limit of the memory tier.")
        public static let entries = MetricDefinition(
            "healthd_cache_entries", .gauge, ["cache"], help: "Values in the memory tier.")

        static let all = [
            requests, operationDuration, fallbacks, loadDuration, loadFailures, coalesced, evictions, memory, memoryLimit, entries,
        ]
    }

    /// What reads are answered with while the database cannot be asked.
    public enum Degrading {
        public static let answers = MetricDefinition(
            "healthd_degraded_answers_total", .counter, ["handler", "rung"],
            help:
                "Answers of reads that can degrade, by rung: fresh, cached, stale (the last good one, with its age), refused (503); a rise of the last two means the database sheds or is away."
        )

        static let all = [answers]
    }

    /// The Redis server, as the probe's own connection sees it.
    public enum Redis {
        public static let memoryUsed = MetricDefinition(
            "healthd_redis_memory_used_bytes", .gauge, ["target"], help: "Memory used by the dataset.")
        public static let memoryLimit = MetricDefinition(
            "healthd_redis_memory_limit_bytes", .gauge, ["target"], help: "maxmemory; absent when it is not set.")
        public static let clients = MetricDefinition(
            "healthd_redis_clients", .gauge, ["target", "state"], help: "Clients by state: connected (all of them), blocked.")
        public static let clientsMax = MetricDefinition("healthd_redis_clients_max", .gauge, ["target"], help: "maxclients.")
        public static let rejectedConnections = MetricDefinition(
            "healthd_redis_rejected_connections_total", .counter, ["target"], help: "Connections refused at maxclients.")
        public static let evictedKeys = MetricDefinition(
            "healthd_redis_evicted_keys_total", .counter, ["target"], help: "Keys evicted at maxmemory.")

        static let all = [memoryUsed, memoryLimit, clients, clientsMax, rejectedConnections, evictedKeys]
    }

    public enum Tasks {
        public static let tasks = MetricDefinition("healthd_tasks", .gauge, ["queue", "state"], help: "Tasks by state.")
        public static let limit = MetricDefinition(
            "healthd_tasks_limit", .gauge, ["queue"], help: "Tasks that may run at once.")
        public static let queueDuration = MetricDefinition(
            "healthd_task_queue_duration_seconds", .histogram, ["queue"], help: "Time a task waited to start.")
        public static let duration = MetricDefinition(
            "healthd_task_duration_seconds", .histogram, ["queue", "outcome"], help: "Run time of a task.")
        public static let retries = MetricDefinition(
            "healthd_task_retries_total", .counter, ["queue"], help: "Task attempts after the first.")
        public static let leasesLost = MetricDefinition(
            "healthd_task_leases_lost_total", .counter, ["queue"],
            help: "Running tasks whose lease ended before they were done; another worker may have them.")
        public static let oldestQueuedAge = MetricDefinition(
            "healthd_task_oldest_queued_age_seconds", .gauge, ["queue"],
            help: "Age of the oldest queued task; absent when none is queued.")

        static let all = [tasks, limit, queueDuration, duration, retries, leasesLost, oldestQueuedAge]
    }

    /// Event streams to clients.
    public enum Streams {
        public static let clients = MetricDefinition("healthd_sse_clients", .gauge, help: "Connected event stream clients.")
        public static let clientsMax = MetricDefinition(
            "healthd_sse_clients_max", .gauge, help: "Limit of event stream clients.")
        public static let eventsSent = MetricDefinition(
            "healthd_sse_events_sent_total", .counter, ["event"], help: "Events sent by kind.")
        public static let eventsDropped = MetricDefinition(
            "healthd_sse_events_dropped_total", .counter, ["reason"],
            help: "Events a client did not get: its stream was ended for reading too slowly, and resumes by replay.")
        public static let backlogPeak = MetricDefinition(
            "healthd_sse_backlog_peak", .gauge, help: "Longest backlog of one client since the start, in events.")
        public static let resumes = MetricDefinition(
            "healthd_sse_resumes_total", .counter, ["result"],
            help: "Reconnects with Last-Event-ID: complete, or gap when the client was told to start over.")

        static let all = [clients, clientsMax, eventsSent, eventsDropped, backlogPeak, resumes]
    }
}
