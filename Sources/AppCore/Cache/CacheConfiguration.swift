/// The settings of the cache.
public struct CacheConfiguration: Sendable, Hashable {
    /// How long a value is fresh; each gets up to 10 % more or less, so that values stored together do not expire together.
    public var lifetime: Duration
    /// Bytes the memory tier may hold.
    public var memoryBytes: Int
    /// What one load may take, for all its callers together.
    public var load: Duration
    /// How long an expired value may still be answered while loads fail.
    public var stale: Duration
    /// Flights under way at once; beyond it a caller loads for itself.
    public var flights: Int

    public init(
        lifetime: Duration = .seconds(300), memoryBytes: Int = 32 << 20, load: Duration = .seconds(2), stale: Duration = .seconds(3_600),
        flights: Int = 1_000
    ) {
        precondition(lifetime > .zero, "a cache needs a lifetime")
        precondition(memoryBytes >= 0, "the memory of the cache cannot be negative")
        precondition(flights >= 0, "the limit of flights cannot be negative")
        self.lifetime = lifetime
        self.memoryBytes = memoryBytes
        self.load = load
        self.stale = stale
        self.flights = flights
    }

    /// No copy in Redis lives longer: the longest lifetime drawn, and the time it takes to get there.
    var copyLifetime: Duration { lifetime * 1.2 }
}
