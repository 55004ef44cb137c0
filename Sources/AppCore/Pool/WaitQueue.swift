import DequeModule
import Vitals

/// The callers that wait, by class and in order of arrival. To enter, to leave and to be served cost the same however many wait.
struct WaitQueue {
    /// An index into `places`. A place is used again; the serial number tells its waiters apart.
    struct Position: Hashable, Sendable {
        let place: Int
        fileprivate let serial: Int
    }

    private struct Place {
        var serial = 0
        var waiter: Waiter?
    }

    private var places: [Place] = []
    private var free: [Int] = []
    /// One for each class, the most urgent first. May hold positions that were left; the first of each is always live.
    private var queues: [Deque<Position>]
    private var counts: [Int]
    private var nextSerial = 0

    init() {
        queues = WorkClass.allCases.map { _ in Deque() }
        counts = WorkClass.allCases.map { _ in 0 }
    }

    private(set) var count = 0

    func count(of workClass: WorkClass) -> Int { counts[workClass.index] }

    /// Those of this class and the more urgent ones: they are served before a newcomer of this class.
    func count(upTo workClass: WorkClass) -> Int {
        var sum = 0
        for index in 0...workClass.index { sum += counts[index] }
        return sum
    }

    mutating func enter(_ caller: Caller, since: MonotonicInstant) -> Waiter {
        nextSerial += 1
        let place = free.popLast() ?? places.count
        if place == places.count { places.append(Place()) }
        let waiter = Waiter(caller, since: since, at: Position(place: place, serial: nextSerial))
        places[place] = Place(serial: nextSerial, waiter: waiter)
        queues[caller.workClass.index].append(waiter.position)
        counts[caller.workClass.index] += 1
        count += 1
        return waiter
    }

    /// Takes a waiter out. False when it has left already.
    mutating func leave(_ waiter: Waiter) -> Bool {
        guard vacate(waiter.position) != nil else { return false }
        let index = waiter.caller.workClass.index
        dropLeft(index)
        if queues[index].count > 2 * counts[index] + 64 {
            let places = places
            queues[index].removeAll { places[$0.place].serial != $0.serial || places[$0.place].waiter == nil }
        }
        return true
    }

    /// Takes out who is to be served next of this class: the oldest, or the newest.
    mutating func next(of workClass: WorkClass, newestFirst: Bool = false) -> Waiter? {
        let index = workClass.index
        guard counts[index] > 0 else { return nil }
        while let position = newestFirst ? queues[index].popLast() : queues[index].popFirst() {
            guard let waiter = vacate(position) else { continue }
            dropLeft(index)
            return waiter
        }
        return nil
    }

    /// Takes out all whose deadline has passed, the most urgent class first, each in order of arrival.
    mutating func expire(now: MonotonicInstant) -> [Waiter] {
        let expired = waiters.filter { $0.caller.deadline.hasPassed(at: now) }
        for waiter in expired { _ = leave(waiter) }
        return expired
    }

    /// Takes out all, the most urgent class first, each in order of arrival.
    mutating func clear() -> [Waiter] {
        let all = waiters
        for waiter in all { _ = leave(waiter) }
        return all
    }

    /// The most urgent class first, each in order of arrival.
    var waiters: [Waiter] { queues.flatMap { $0.compactMap(waiter(at:)) } }

    func oldest(of workClass: WorkClass) -> Caller? { queues[workClass.index].first.flatMap { places[$0.place].waiter?.caller } }

    var oldestSince: MonotonicInstant? { oldestSince(upTo: .background) }

    /// Since when somebody of this class or a more urgent one has waited.
    func oldestSince(upTo workClass: WorkClass) -> MonotonicInstant? {
        var earliest: MonotonicInstant?
        for index in 0...workClass.index {
            guard let first = queues[index].first, let since = places[first.place].waiter?.since else { continue }
            earliest = earliest.map { min($0, since) } ?? since
        }
        return earliest
    }

    var earliestDeadline: Deadline? { places.lazy.compactMap(\.waiter?.caller.deadline).min() }

    /// The waiter at this position; nil when it has left, even if another has the place now.
    private func waiter(at position: Position) -> Waiter? {
        places[position.place].serial == position.serial ? places[position.place].waiter : nil
    }

    private mutating func vacate(_ position: Position) -> Waiter? {
        guard let waiter = waiter(at: position) else { return nil }
        places[position.place].waiter = nil
        free.append(position.place)
        counts[waiter.caller.workClass.index] -= 1
        count -= 1
        return waiter
    }

    private mutating func dropLeft(_ index: Int) {
        while let first = queues[index].first, waiter(at: first) == nil { queues[index].removeFirst() }
    }
}
