extension Catalogue {
    /// The probes and what they reach.
    public enum Probing {
        public static let targetUp = MetricDefinition(
            "healthd_target_up", .gauge, ["target"], help: "1 when the last probe of the target succeeded.")
        public static let targetInfo = MetricDefinition(
            "healthd_target_info", .info, ["target", "version", "role"], help: "Facts about a target.")
        public static let runs = MetricDefinition(
            "healthd_probe_runs_total", .counter, ["probe", "target", "result"],
            help:
                "Probe runs by result: ok, unreachable (down), timeout (hung), auth (locked out), full, protocol (a wrong answer), error, skipped (the run before is not back).")
        public static let duration = MetricDefinition(
            "healthd_probe_duration_seconds", .histogram, ["probe", "target"], help: "Time of a probe.")
        public static let lastSuccess = MetricDefinition(
            "healthd_probe_last_success_timestamp_seconds", .gauge, ["probe", "target"], help: "Unix time of the last success.")
        public static let staleness = MetricDefinition(
            "healthd_probe_staleness_seconds", .gauge, ["probe", "target"], help: "Age of the values served for this probe.")
        public static let interval = MetricDefinition(
            "healthd_probe_interval_seconds", .gauge, ["probe", "target"], help: "Time between two runs of a probe.")
        public static let overruns = MetricDefinition(
            "healthd_probe_overruns_total", .counter, ["probe", "target"],
            help: "Runs skipped because the one before had not ended.")

        static let all = [targetUp, targetInfo, runs, duration, lastSuccess, staleness, interval, overruns]
    }

    /// Verdicts and the rules behind them.
    public enum Health {
        public static let state = MetricDefinition(
            "healthd_health_state", .stateSet, ["component", "state"],
            help: "1 for the present state of a component, 0 for the others.")
        public static let severity = MetricDefinition(
            "healthd_health_severity", .gauge, ["component"], help: "0 healthy, 1 unknown, 2 degraded, 3 critical.")
        public static let stateSeconds = MetricDefinition(
            "healthd_health_state_seconds_total", .counter, ["component", "state"],
            help: "Time spent in each state: availability without a query language.")
        public static let stateEntered = MetricDefinition(
            "healthd_health_state_entered_timestamp_seconds", .gauge, ["component"],
            help: "Unix time at which the present state began.")
        public static let transitions = MetricDefinition(
            "healthd_health_transitions_total", .counter, ["component", "from", "to"], help: "State changes.")
        public static let ruleValue = MetricDefinition(
            "healthd_rule_value", .gauge, ["rule"], help: "Value a rule saw at its last evaluation.")
        public static let ruleThreshold = MetricDefinition(
            "healthd_rule_threshold", .gauge, ["rule", "level", "edge"],
            help: "Thresholds in force, both edges of the hysteresis.")
        public static let detectionDelay = MetricDefinition(
            "healthd_detection_delay_seconds", .histogram, ["component"],
            help: "Time from the first bad sample to the change for the worse.")
        public static let evaluationDuration = MetricDefinition(
            "healthd_evaluation_duration_seconds", .histogram, help: "Time of one classification pass.")

        static let all = [
            state, severity, stateSeconds, stateEntered, transitions, ruleValue, ruleThreshold, detectionDelay, evaluationDuration,
        ]
    }

    public enum Alerts {
        public static let alerts = MetricDefinition(
            "healthd_alerts", .gauge, ["severity", "state"], help: "Open alerts: firing, or held back because they flap.")
        public static let attempts = MetricDefinition(
            "healthd_alert_notifications_total", .counter, ["receiver", "result"], help: "Attempts to deliver a notice, by result: ok, http_error (an answer that is no 2xx), timeout, unreachable (no connection, or it broke).")
        public static let deliveryLag = MetricDefinition(
            "healthd_alert_delivery_lag_seconds", .histogram, ["receiver"],
            help: "Time from state change to accepted delivery.")
        public static let queueLength = MetricDefinition(
            "healthd_alert_queue_length", .gauge, ["receiver"],
            help: "Notices not yet delivered; a rise means the receiver does not accept them.")
        public static let deadLetters = MetricDefinition(
            "healthd_alert_dead_letters_total", .counter, ["receiver"],
            help: "Dead letters: notices not accepted for a day after their alert ended, or unreadable.")
        public static let suppressed = MetricDefinition(
            "healthd_alert_suppressed_total", .counter, ["reason"], help: "Notices not sent, by reason: flapping, dedup (told already), too_many (more than are kept).")

        static let all = [alerts, attempts, deliveryLag, queueLength, deadLetters, suppressed]
    }

    /// The keep-alive to the service manager.
    public enum Watchdog {
        public static let pings = MetricDefinition(
            "healthd_watchdog_pings_total", .counter, ["result"],
            help: "Keep alive pings to systemd: sent, or withheld because a part of healthd is stuck.")
        public static let interval = MetricDefinition(
            "healthd_watchdog_interval_seconds", .gauge, help: "Watchdog interval asked for by systemd; absent without one.")

        public static let failedNotices = MetricDefinition(
            "healthd_systemd_notices_failed_total", .counter,
            help: "Notices to systemd (ready, status, pings and others) that could not be sent; a rise means its socket is gone or refuses them.")

        static let all = [pings, interval, failedNotices]
    }

    /// What healthd writes about itself.
    public enum Log {
        public static let droppedLines = MetricDefinition(
            "healthd_log_dropped_lines_total", .counter,
            help: "Lines of the log that nobody will read; a rise means whoever reads the log does not keep up, or its disk is full.")

        static let all = [droppedLines]
    }
}
