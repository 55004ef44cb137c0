import Vitals

/// Flights: loads under way, with the callers that wait for each. A key has at most one that others may join; nobody joins one that a
/// write overtook.
struct CacheFlights {
    /// How a flight ends for the callers that wait for it.
    enum Landing: Sendable {
        /// - loadedAt: when the load it comes from began.
        case value(any CacheableValue, CacheSource, loadedAt: MonotonicInstant)
        case failure(any Error)
        /// Nobody loads it for the caller: there is no room for another flight, or the cache does not run any more.
        case loadYourself
    }

    typealias Continuation = CheckedContinuation<Landing, Never>

    private struct Flight {
        var key: String
        var waiters: [Int: Continuation] = [:]
    }

    private var flights: [Int: Flight] = [:]
    /// The flight of a key that others may join.
    private var joinable: [String: Int] = [:]
    /// Which flight a caller waits for.
    private var flightOf: [Int: Int] = [:]
    private var lastID = 0

    var count: Int { flights.count }

    func isUnderWay(_ key: String) -> Bool { joinable[key] != nil }

    mutating func newID() -> Int {
        lastID += 1
        return lastID
    }

    /// Begins a flight of `key`, which others may join.
    mutating func begin(_ key: String) -> Int {
        let id = newID()
        flights[id] = Flight(key: key)
        joinable[key] = id
        return id
    }

    /// Lets a caller wait for the flight of `key`; false when there is none to join.
    mutating func join(_ key: String, as caller: Int, _ waiter: Continuation) -> Bool {
        guard let id = joinable[key] else { return false }
        flights[id]?.waiters[caller] = waiter
        flightOf[caller] = id
        return true
    }

    /// The caller waits no longer.
    mutating func leave(_ caller: Int) -> Continuation? {
        flightOf.removeValue(forKey: caller).flatMap { flights[$0]?.waiters.removeValue(forKey: caller) }
    }

    /// Ends the flight.
    ///
    /// - Returns: its waiters, for the caller to resume.
    mutating func land(_ id: Int) -> [Continuation] {
        guard let flight = flights.removeValue(forKey: id) else { return [] }
        if joinable[flight.key] == id { joinable[flight.key] = nil }
        for caller in flight.waiters.keys { flightOf[caller] = nil }
        return Array(flight.waiters.values)
    }

    /// Whoever asks from here on begins a flight of its own: the present one may have missed a write.
    ///
    /// - Returns: the flight that was overtaken.
    mutating func overtake(_ key: String) -> Int? { joinable.removeValue(forKey: key) }

    /// Ends all flights.
    ///
    /// - Returns: the waiters of all, for the caller to resume.
    mutating func landAll() -> [Continuation] { flights.keys.sorted().flatMap { land($0) } }
}
