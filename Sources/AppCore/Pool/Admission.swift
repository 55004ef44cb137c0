import Vitals

/// Who may queue, and in which order the queue is served.
///
/// While queues drain, every caller may queue that will be served in time, and the oldest is served first. A queue is standing when, for a
/// whole interval, its oldest caller had always waited longer than the target. Then a newcomer is let in only if it will be served soon. The
/// oldest caller is still served first, unless it has too little time left for its work. That work would be in vain, so the newest is served.
///
/// Source: "Controlling Queue Delay", Nichols and Jacobson, ACM Queue 2012 (CoDel: the least delay of an interval tells a standing
/// queue from a burst); "Fail at Scale", Maurer, ACM Queue 2015 (newest first in overload).
struct Admission {
    /// A queue is standing when its oldest caller never waits less than this: a twentieth of the pool's deadline, 5 ms at least.
    let target: Duration
    let interval: Duration
    /// Callers that may queue at once.
    let room: Int

    private(set) var isOverloaded = false
    /// The shortest wait of the oldest caller in this interval; nil before the first caller was served.
    private var least: Duration?
    private var intervalEnd: MonotonicInstant?

    init(deadline: Duration, room: Int) {
        target = max(.milliseconds(5), deadline / 20)
        interval = max(.milliseconds(100), target * 5)
        self.room = room
    }

    /// Why a caller may not queue; nil when it may.
    ///
    /// - Parameters:
    ///   - estimate: how long it would wait; nil when too little is known for a guess. Then it may queue if it has any time left.
    ///   - lease: how long a lease takes. After the wait there must be time for two: whoever is let in is to be answered, and estimates err.
    func refusal(
        of workClass: WorkClass, waiting: Int, waitingInClass: Int, estimate: Duration?, lease: Duration, remaining: Duration
    ) -> ShedReason? {
        switch workClass {
        // The critical class has room of its own, however many others queue.
        case .critical where waitingInClass >= room: return .queueFull
        case .interactive where waiting >= room: return .queueFull
        // Background work leaves half of the queue to the others.
        case .background where waiting >= room || waitingInClass >= max(1, room / 2): return .queueFull
        case .critical, .interactive, .background: break
        }
        guard remaining > .zero else { return .tooLate }
        guard workClass != .critical, let estimate else { return nil }
        if estimate + lease * 2 > remaining { return .tooLate }
        if isOverloaded, estimate > target * 2 { return .overload }
        return nil
    }

    /// Whether the newest caller of a class goes before its oldest.
    ///
    /// - Parameter lease: what a lease takes.
    func prefersNewest(oldestRemaining remaining: Duration, lease: Duration?) -> Bool {
        guard isOverloaded, let lease else { return false }
        return remaining < lease
    }

    /// A caller left the queue with a connection.
    ///
    /// - Parameter wait: how long the oldest caller in the queue had waited. Not the one that was served: the newest and the most urgent wait
    ///   little in any queue.
    mutating func served(whileOldestWaited wait: Duration, now: MonotonicInstant) {
        guard let end = intervalEnd else {
            least = wait
            intervalEnd = now + interval
            return
        }
        if now >= end {
            // Only `drained` ends it. In overload few callers are let in, so the queue is short at times, although just as many arrive.
            if let least, least > target { isOverloaded = true }
            least = wait
            intervalEnd = now + interval
        } else {
            least = least.map { min($0, wait) } ?? wait
        }
    }

    /// The last who waited was served or has left: what the next caller waits tells of another queue. That ends no overload, as `served` says.
    mutating func queueIsEmpty() {
        least = nil
        intervalEnd = nil
    }

    /// The queue is no longer standing: a connection came free and found nobody who waits, or all that waited were refused together.
    mutating func drained() {
        isOverloaded = false
        least = nil
        intervalEnd = nil
    }
}
