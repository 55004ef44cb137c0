import Vitals

/// When connections are replaced for their age: spread over the last tenth of their lifetime, and never two close together, so that a pool
/// that opened all at once does not lose all at once.
///
/// A connection that comes back when it is due, but less than a pause after another went, waits here. It is not leased again: it would outlive
/// its lifetime by another lease. The one whose end is earliest goes first. The ends are one pause apart, so none waits for long.
struct Retirements {
    /// At least this long between two: 250 ms, and less where so many connections of so short a lifetime could not keep to that.
    let pause: Duration
    private let lifetime: Duration

    struct Next: Equatable {
        /// The connection to close now.
        var slot: Int?
        /// When to ask for the next; nil when none waits.
        var again: MonotonicInstant?
    }

    private var last: MonotonicInstant?
    private var waiting: [(end: MonotonicInstant, slot: Int)] = []

    /// - Parameters:
    ///   - lifetime: zero: none is ever replaced for its age.
    ///   - connections: how many there may be. All their pauses together are a quarter of a lifetime at most.
    init(lifetime: Duration, connections: Int) {
        self.lifetime = lifetime
        pause = lifetime > .zero ? min(.milliseconds(250), lifetime / (connections * 4)) : .milliseconds(250)
    }

    /// The end of a lifetime that begins now. It is drawn from the last tenth, then moved earlier until it is one `pause` from every other end. One
    /// more `pause` is taken off, since the connection may have to wait for so long.
    func end(from now: MonotonicInstant, others: [MonotonicInstant]) -> MonotonicInstant {
        var end = now + .seconds(Double.random(in: 0.9...1) * (lifetime - pause).seconds)
        for other in others.sorted(by: >) where other - end < pause {
            guard end - other < pause else { break }
            end = other - pause
        }
        return end
    }

    /// Whether a connection that is due goes now. If so the next one waits for the pause.
    mutating func begin(now: MonotonicInstant) -> Bool {
        guard waiting.isEmpty, earliest(now) == now else { return false }
        last = now
        return true
    }

    /// It is too early for a connection that is due.
    ///
    /// - Returns: when to ask for the `next`; nil when somebody will ask already.
    mutating func wait(_ slot: Int, end: MonotonicInstant, now: MonotonicInstant) -> MonotonicInstant? {
        defer { waiting.append((end, slot)) }
        return waiting.isEmpty ? earliest(now) : nil
    }

    /// Which goes now, and when to ask again.
    mutating func next(now: MonotonicInstant) -> Next {
        let earliest = earliest(now)
        guard earliest == now, let index = waiting.indices.min(by: { waiting[$0].end < waiting[$1].end }) else {
            return Next(slot: nil, again: waiting.isEmpty ? nil : earliest)
        }
        last = now
        let slot = waiting.remove(at: index).slot
        return Next(slot: slot, again: waiting.isEmpty ? nil : now + pause)
    }

    /// All who wait, at once.
    mutating func clear() -> [Int] {
        defer { waiting = [] }
        return waiting.map(\.slot)
    }

    /// When the pause after the last is over.
    private func earliest(_ now: MonotonicInstant) -> MonotonicInstant { last.map { max(now, $0 + pause) } ?? now }
}
