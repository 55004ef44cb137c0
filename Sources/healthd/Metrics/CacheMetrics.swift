import AppCore
import Probes
import Vitals

func families(of cache: CacheStatistics, named name: String = "workspace") -> [MetricFamily] {
    typealias Names = Catalogue.Cache
    var requests = MetricFamily(Names.requests)
    for (tier, count) in cache.hits { requests.add(count, name, "get", "hit_\(tier.rawValue)") }
    requests.add(cache.misses, name, "get", "miss")
    requests.add(cache.stale, name, "get", "stale")
    // Of those asked of Redis; lookups are told by where they were answered.
    for (operation, times) in cache.operations where operation != .get { requests.add(times.count, name, operation.rawValue, "ok") }
    for (operation, count) in cache.errors { requests.add(count, name, operation.rawValue, "error") }
    var operations = MetricFamily(Names.operationDuration)
    for (operation, times) in cache.operations { operations.add(times, name, operation.rawValue) }
    var fallbacks = MetricFamily(Names.fallbacks)
    for (reason, count) in cache.fallbacks { fallbacks.add(count, name, reason.rawValue) }
    return [
        requests, operations, fallbacks,
        MetricFamily(Names.loadDuration, cache.loadTime, name),
        MetricFamily(Names.loadFailures, cache.loadFailures, name),
        MetricFamily(Names.coalesced, cache.coalesced, name),
        MetricFamily(Names.evictions, cache.evictions, name),
        MetricFamily(Names.memory, cache.memoryBytes, name),
        MetricFamily(Names.memoryLimit, cache.memoryLimit, name),
        MetricFamily(Names.entries, cache.memoryEntries, name),
    ]
}
