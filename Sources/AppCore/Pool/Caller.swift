import Vitals

/// One that asks for a connection: why, on whose behalf, from where, since when and until when.
///
/// A class, though a value: it is handed from the queue to the slot and back, and a reference is cheaper to hand on than a hundred bytes.
final class Caller: Sendable {
    let purpose: Purpose
    let workClass: WorkClass
    let detail: String?
    let site: CallSite
    let since: MonotonicInstant
    let deadline: Deadline

    init(
        purpose: Purpose, workClass: WorkClass = .interactive, detail: String? = nil, site: CallSite, since: MonotonicInstant, deadline: Deadline
    ) {
        self.purpose = purpose
        self.workClass = workClass
        self.detail = detail
        self.site = site
        self.since = since
        self.deadline = deadline
    }
}
