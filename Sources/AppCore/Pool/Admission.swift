import Vitals

/// Who may queue, and in which order the queue is served.
///
/// As long as queues drain, everybody may queue who will be served in time, and the oldest is served first. When whoever was served
/// during a whole interval had waited longer than the target, the queue is standing: then the newest is served first, since the oldest
/// are about to give up, and only those are let in who are served soon.
///
/// Source: "Controlling Queue Delay", Nichols and Jacobson, ACM Queue 2012 (CoDel: the least delay of an interval tells a standing
/// queue from a burst); "Fail at Scale", Maurer, ACM Queue 2015 (newest first in overload).
struct Admission {
    /// A queue in which nobody waits less than this is standing: a twentieth of the time callers have, 5 ms at least.
    let target: Duration
    let interval: Duration
    /// Callers that may queue at once.
    let room: Int

    private(set) var isOverloaded = false
    /// The shortest wait of those served in this interval; nil before the first.
    private var least: Duration?
    private var intervalEnd: MonotonicInstant?

    init(deadline: Duration, room: Int) {
        target = max(.milliseconds(5), deadline / 20)
        interval = max(.milliseconds(100), target * 5)
        self.room = room
    }

    /// Why a caller may not queue; nil when it may.
    ///
    /// - Parameter estimate: what it would wait; nil when too little is known for a guess, and then nobody is refused for it.
    func refusal(of workClass: WorkClass, waiting: Int, waitingInClass: Int, estimate: Duration?, remaining: Duration) -> ShedReason? {
        guard waiting < room else { return .queueFull }
        // Background work may not fill the queue for those that somebody waits for.
        if workClass == .background, waitingInClass >= max(1, room / 2) { return .queueFull }
        guard remaining > .zero else { return .tooLate }
        guard workClass != .critical, let estimate else { return nil }
        if estimate > remaining { return .tooLate }
        if isOverloaded, estimate > target * 2 { return .overload }
        return nil
    }

    /// A caller left the queue with a connection.
    mutating func served(afterWaiting wait: Duration, now: MonotonicInstant) {
        guard let end = intervalEnd else {
            least = wait
            intervalEnd = now + interval
            return
        }
        if now >= end {
            isOverloaded = least.map { $0 > target } ?? false
            least = wait
            intervalEnd = now + interval
        } else {
            least = least.map { min($0, wait) } ?? wait
        }
    }

    /// Nobody waits any more: whatever stood has drained.
    mutating func lineEmptied() {
        isOverloaded = false
        least = nil
        intervalEnd = nil
    }
}
