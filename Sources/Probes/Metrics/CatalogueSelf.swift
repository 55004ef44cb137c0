extension Catalogue {
    /// healthd's own HTTP and what it exposes.
    public enum Exposition {
        public static let requestDuration = MetricDefinition(
            "healthd_http_request_duration_seconds", .histogram, ["handler", "code"],
            help: "Time of own HTTP requests until the answer is ready; a stream's is the time to its first byte.")
        public static let requestsInFlight = MetricDefinition(
            "healthd_http_requests_in_flight", .gauge, ["handler"], help: "Own HTTP requests in progress.")
        public static let size = MetricDefinition(
            "healthd_exposition_size_bytes", .gauge, ["format"], help: "Size of the last response before compression.")
        public static let series = MetricDefinition("healthd_exposition_series", .gauge, help: "Series exposed.")
        public static let seriesDropped = MetricDefinition(
            "healthd_exposition_series_dropped_total", .counter, ["reason"],
            help: "Series left out by the cardinality limit, summed over renderings.")
        public static let configLastReloadSuccess = MetricDefinition(
            "healthd_config_last_reload_success", .gauge, help: "1 when the last reload of the configuration succeeded.")
        public static let configLastReloadTime = MetricDefinition(
            "healthd_config_last_reload_success_timestamp_seconds", .gauge, help: "Unix time of the last good reload.")

        static let all = [
            requestDuration, requestsInFlight, size, series, seriesDropped, configLastReloadSuccess, configLastReloadTime,
        ]
    }

    /// Clients of our own HTTP server.
    public enum Connections {
        public static let connections = MetricDefinition(
            "healthd_http_connections", .gauge, ["state"],
            help: "Connections by what they are at: header (nothing asked yet, or half a header), body, answering, idle.")
        public static let maximum = MetricDefinition(
            "healthd_http_connections_max", .gauge,
            help: "Connections at once; lower than usual when the limit of file descriptors leaves room for no more.")
        public static let closed = MetricDefinition(
            "healthd_http_connections_closed_total", .counter, ["reason"],
            help:
                "Connections we ended: header_timeout, body_timeout, idle_timeout, not_reading, made_room (for a newer one, when full), refused, stopping; a rise of made_room or refused means too many clients."
        )
        public static let acceptFailures = MetricDefinition(
            "healthd_http_accept_failures_total", .counter, ["reason"],
            help: "Times the kernel had no connection for us: process_limit or system_limit (file descriptors), memory.")
        public static let waiting = MetricDefinition(
            "healthd_http_connections_waiting", .gauge,
            help: "Clients that have connected and are not let in yet; above 0 for longer than a moment means that all others are being answered.")
        public static let waited = MetricDefinition(
            "healthd_http_connections_waiting_seconds_total", .counter,
            help: "Time in which clients waited to be let in and nobody could make room; a rise means that newcomers are shut out.")

        static let all = [connections, maximum, closed, acceptFailures, waiting, waited]
    }

    /// This process. Names and meanings are those every Prometheus client library uses.
    public enum Process {
        public static let cpuSeconds = MetricDefinition(
            "process_cpu_seconds_total", .counter, help: "Total user and system CPU time spent in seconds.")
        public static let residentMemory = MetricDefinition(
            "process_resident_memory_bytes", .gauge, help: "Resident memory size in bytes.")
        public static let residentMemoryPeak = MetricDefinition(
            "process_resident_memory_peak_bytes", .gauge, help: "Peak resident memory size in bytes (VmHWM).")
        public static let virtualMemory = MetricDefinition(
            "process_virtual_memory_bytes", .gauge, help: "Virtual memory size in bytes.")
        public static let openFDs = MetricDefinition("process_open_fds", .gauge, help: "Open file descriptors.")
        public static let maxFDs = MetricDefinition("process_max_fds", .gauge, help: "Limit of open file descriptors.")
        public static let threads = MetricDefinition("process_threads", .gauge, help: "Operating system threads.")
        public static let startTime = MetricDefinition(
            "process_start_time_seconds", .gauge, help: "Start time since the Unix epoch in seconds.")

        static let all = [
            cpuSeconds, residentMemory, residentMemoryPeak, virtualMemory, openFDs, maxFDs, threads, startTime,
        ]
    }

    public enum Build {
        public static let info = MetricDefinition(
            "healthd_build_info", .info, ["version", "swift", "libpq"], help: "What this healthd was built from.")

        static let all = [info]
    }
}
