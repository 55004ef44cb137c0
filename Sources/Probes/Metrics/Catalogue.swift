/// Every metric healthd exposes: the one place where names, labels and help are written down.
///
/// Conventions: base units, plural nouns, `_total` on counters, few and bounded labels. Names are a promise to dashboards and rules:
/// added to, never renamed.
public enum Catalogue {
    public static let definitions: [MetricDefinition] =
        Pool.all + Saturation.all + Query.all + Postgres.all + Cache.all + Degrading.all + Redis.all + Tasks.all + Streams.all
        + Probing.all + Health.all + Alerts.all + Watchdog.all + Log.all + Exposition.all + Connections.all + Process.all + Build.all
}
