import DequeModule
import Vitals

/// The callers that wait, by class and in order of arrival. To enter, to leave and to be served cost the same however many wait.
struct WaitingLine {
    /// A place in the line. Places are used again; the serial number tells who had it when.
    struct ID: Hashable, Sendable {
        var place: Int
        fileprivate var serial: Int
    }

    private struct Place {
        var serial = 0
        var caller: Caller?
    }

    private var places: [Place] = []
    private var free: [Int] = []
    /// One for each class, the most urgent first. May hold callers that have left; the first of each is always live.
    private var queues: [Deque<ID>]
    private var counts: [Int]
    private var nextSerial = 0

    init() {
        queues = WorkClass.allCases.map { _ in Deque() }
        counts = WorkClass.allCases.map { _ in 0 }
    }

    private(set) var count = 0

    func count(of workClass: WorkClass) -> Int { counts[workClass.index] }

    /// Those that are served before a newcomer of this class.
    func count(before workClass: WorkClass) -> Int {
        var sum = 0
        for index in 0...workClass.index { sum += counts[index] }
        return sum
    }

    mutating func enter(_ caller: Caller) -> ID {
        nextSerial += 1
        let place = free.popLast() ?? places.count
        if place == places.count { places.append(Place()) }
        places[place] = Place(serial: nextSerial, caller: caller)
        let id = ID(place: place, serial: nextSerial)
        queues[caller.workClass.index].append(id)
        counts[caller.workClass.index] += 1
        count += 1
        return id
    }

    /// Takes a caller out; nil when it has left already.
    mutating func leave(_ id: ID) -> Caller? {
        guard let caller = vacate(id) else { return nil }
        let index = caller.workClass.index
        dropLeft(index)
        if queues[index].count > 2 * counts[index] + 64 {
            let places = places
            queues[index].removeAll { places[$0.place].serial != $0.serial || places[$0.place].caller == nil }
        }
        return caller
    }

    /// Takes out who is to be served next of this class: the oldest, or the newest.
    mutating func next(of workClass: WorkClass, newestFirst: Bool = false) -> (id: ID, caller: Caller)? {
        let index = workClass.index
        guard counts[index] > 0 else { return nil }
        while let id = newestFirst ? queues[index].popLast() : queues[index].popFirst() {
            guard let caller = vacate(id) else { continue }
            dropLeft(index)
            return (id, caller)
        }
        return nil
    }

    /// Takes out all whose deadline has passed, in order of arrival.
    mutating func expire(now: MonotonicInstant) -> [(id: ID, caller: Caller)] {
        let expired = ids.filter { places[$0.place].caller?.deadline.hasPassed(at: now) ?? false }
        return expired.compactMap { id in leave(id).map { (id, $0) } }
    }

    /// Takes out everybody, the most urgent first.
    mutating func clear() -> [ID] {
        let all = ids
        for id in all { _ = leave(id) }
        return all
    }

    /// The most urgent first, each class in order of arrival.
    var callers: [Caller] { ids.compactMap { places[$0.place].caller } }

    func oldest(of workClass: WorkClass) -> Caller? { queues[workClass.index].first.flatMap { places[$0.place].caller } }

    var oldestSince: MonotonicInstant? { oldestSince(upTo: .background) }

    /// Since when somebody of this class or a more urgent one has waited.
    func oldestSince(upTo workClass: WorkClass) -> MonotonicInstant? {
        var earliest: MonotonicInstant?
        for index in 0...workClass.index {
            guard let first = queues[index].first, let since = places[first.place].caller?.since else { continue }
            earliest = earliest.map { min($0, since) } ?? since
        }
        return earliest
    }

    var earliestDeadline: Deadline? { places.lazy.compactMap(\.caller?.deadline).min() }

    private var ids: [ID] { queues.flatMap { $0.filter(isWaiting) } }

    private func isWaiting(_ id: ID) -> Bool { places[id.place].serial == id.serial && places[id.place].caller != nil }

    private mutating func vacate(_ id: ID) -> Caller? {
        guard isWaiting(id), let caller = places[id.place].caller else { return nil }
        places[id.place].caller = nil
        free.append(id.place)
        counts[caller.workClass.index] -= 1
        count -= 1
        return caller
    }

    private mutating func dropLeft(_ index: Int) {
        while let first = queues[index].first, !isWaiting(first) { queues[index].removeFirst() }
    }
}
