import Vitals

/// Who may queue, and in which order the queue is served.
///
/// As long as queues drain, everybody may queue who will be served in time, and the oldest is served first. When during a whole interval
/// somebody always had waited longer than the target, the queue is standing: then only those are let in who are served soon. The oldest
/// is still first, unless it has too little time left for its work: that would be done in vain, and so the newest is served instead.
///
/// Source: "Controlling Queue Delay", Nichols and Jacobson, ACM Queue 2012 (CoDel: the least delay of an interval tells a standing
/// queue from a burst); "Fail at Scale", Maurer, ACM Queue 2015 (newest first in overload).
struct Admission {
    /// A queue whose oldest never waits less than this is standing: a twentieth of the time callers have, 5 ms at least.
    let target: Duration
    let interval: Duration
    /// Callers that may queue at once.
    let room: Int

    private(set) var isOverloaded = false
    /// The shortest wait of the oldest in this interval; nil before the first.
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
    ///   - estimate: what it would wait; nil when too little is known for a guess, and then nobody is refused for it.
    ///   - lease: what a lease takes. Time for two must remain after the wait: whoever is let in is to be answered, and estimates err.
    func refusal(
        of workClass: WorkClass, waiting: Int, waitingInClass: Int, estimate: Duration?, lease: Duration, remaining: Duration
    ) -> ShedReason? {
        switch workClass {
        // A flood of others leaves the critical class its room.
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
    /// - Parameter wait: how long the oldest in the queue had waited, not the one that was served: the newest and the most urgent wait little in
    ///   any queue.
    mutating func served(whileOldestWaited wait: Duration, now: MonotonicInstant) {
        guard let end = intervalEnd else {
            least = wait
            intervalEnd = now + interval
            return
        }
        if now >= end {
            // Only `drained` ends it: while few are let in the queue is short at times, although as many callers arrive as before.
            if let least, least > target { isOverloaded = true }
            least = wait
            intervalEnd = now + interval
        } else {
            least = least.map { min($0, wait) } ?? wait
        }
    }

    /// The queue is no longer standing: but for background work nobody waits, or all who waited were refused at once.
    mutating func drained() {
        isOverloaded = false
        least = nil
        intervalEnd = nil
    }
}
