import Vitals

/// Somebody who asks for a connection: why, on whose behalf, from where, since when and until when.
struct Caller: Sendable {
    var purpose: Purpose
    var workClass: WorkClass = .interactive
    var detail: String?
    var site: CallSite
    var since: MonotonicInstant
    var deadline: Deadline
}
