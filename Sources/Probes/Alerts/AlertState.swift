public import Vitals

/// One alert's life: what its latest notice said, and what is true now. A pure value; it is stored between starts.
public struct AlertState: Sendable, Hashable, Codable {
    public enum Phase: String, Sendable, Hashable, Codable {
        /// No alert is open. Leads to firing, or straight to held when it has flapped before.
        case quiet
        /// There was a notice of its firing. Leads to quiet by a resolved, or to held when it flaps.
        case firing
        /// The latest notice said that it flaps; it may be the first of this opening. Changes are held back until it is quiet. Leads to firing or to
        /// quiet, always with a notice.
        case held
    }

    public internal(set) var phase = Phase.quiet
    /// The last bad state; of an open alert its severity.
    public internal(set) var severity = HealthState.degraded
    public internal(set) var startsAt: WallTime?
    /// Whether it is bad right now; while held there has been no notice of that.
    public internal(set) var isBad = false
    /// When it was last seen to become good; the end of an alert that has one.
    public internal(set) var goodSince: WallTime?
    public internal(set) var reason = ""
    public internal(set) var value: Double?
    public internal(set) var threshold: Double?
    public internal(set) var peak: Double?

    // Not stored: the monotonic clock ends with the process.
    /// When it opened. Of an alert that an earlier process opened: when that was, as far as the wall clock can tell.
    var openedAt: MonotonicInstant?
    /// The instant of `goodSince`.
    var goodAt: MonotonicInstant?
    /// From its opening to its end; nil while it is open.
    var lasted: Duration?
    var flapping = Flapping()
    /// Not stored: whether this process has itself seen it bad.
    var confirmed = false

    /// By the wall clock nothing is taken to be older than this: that would be a mistake.
    private static let longestAge = Duration.seconds(100 * 365 * 86_400)

    public init() {}

    private enum CodingKeys: String, CodingKey {
        case phase, severity, startsAt, isBad, goodSince, reason, value, threshold, peak
    }

    public var isOpen: Bool { phase != .quiet }

    /// How long it has been open, whatever the wall clock did meanwhile.
    func age(at now: MonotonicInstant) -> Duration { openedAt.map { now - $0 } ?? .zero }

    /// What a verdict does to the alert, and the reason for a notice if one is due.
    ///
    /// `unknown` changes nothing: silence neither fires nor resolves.
    public func advanced(
        by state: HealthState, reason: String, value: Double? = nil, threshold: Double? = nil, lowerIsWorse: Bool = false,
        flapping policy: Flapping.Policy, now: MonotonicInstant, wall: WallTime
    ) -> (AlertState, NoticeReason?) {
        guard state != .unknown else { return (self, nil) }
        var next = self
        next.reason = reason
        next.value = value
        next.threshold = threshold
        let bad = state.isBad
        let crossed = bad != isBad
        // Getting worse and better over and over is flapping as well.
        let changed = crossed || (bad && state != severity)
        next.isBad = bad
        if bad {
            (next.goodSince, next.goodAt) = (nil, nil)
            next.severity = state
            next.confirmed = true
        }
        if !bad && (crossed || goodSince == nil) { (next.goodSince, next.goodAt) = (wall, now) }
        let worst = [isOpen ? peak : nil, bad ? value : nil].compactMap { $0 }
        next.peak = lowerIsWorse ? worst.min() : worst.max()

        switch phase {
        case .quiet:
            guard bad else { return (next, nil) }
            (next.startsAt, next.openedAt, next.lasted) = (wall, now, nil)
            next.phase = .firing
            return next.flapping.change(at: now, by: policy) ? next.held() : (next, .firing)
        case .firing:
            guard changed else { return (next, nil) }
            if next.flapping.change(at: now, by: policy) { return next.held() }
            if !bad {
                next.close(at: now)
                return (next, confirmed ? .resolved : .recoveredWhileDown)
            }
            // That it got better is no news while it is bad.
            return (next, state > severity ? .escalated : nil)
        case .held:
            if changed { _ = next.flapping.change(at: now, by: policy) }
            return (next, nil)
        }
    }

    private func held() -> (AlertState, NoticeReason?) {
        var next = self
        next.phase = .held
        return (next, .flapping)
    }

    /// Ends a hold once nothing has changed for the quiet time: there is always a notice of the final state.
    public func calmed(flapping policy: Flapping.Policy, now: MonotonicInstant) -> (AlertState, NoticeReason?) {
        guard phase == .held, let calm = flapping.calmAt(by: policy), now >= calm else { return (self, nil) }
        var next = self
        next.flapping = Flapping()
        if isBad { next.phase = .firing } else { next.close(at: goodAt ?? now) }
        return (next, isBad ? .settled : .resolved)
    }

    /// When `calmed` will have an answer; nil unless held.
    public func calmAt(flapping policy: Flapping.Policy) -> MonotonicInstant? {
        phase == .held ? flapping.calmAt(by: policy) : nil
    }

    /// The rule is gone; an alert that nothing can resolve any more is closed.
    public func removed(now: MonotonicInstant) -> (AlertState, NoticeReason?) {
        guard isOpen else { return (self, nil) }
        var next = self
        next.close(at: goodAt ?? now)
        next.isBad = false
        return (next, .ruleRemoved)
    }

    private mutating func close(at end: MonotonicInstant) {
        phase = .quiet
        lasted = age(at: end)
    }

    /// A stored alert as it is after a start. The quiet time of a hold begins anew. What came before is as long ago as the wall clock says.
    func restored(flapping policy: Flapping.Policy, now: MonotonicInstant, wall: WallTime) -> AlertState {
        // The wall clock may have been set since, back or far ahead, and also between the alert's start and its end.
        func instant(of time: WallTime) -> MonotonicInstant { now - min(max(.zero, wall - time), Self.longestAge) }
        var next = self
        next.openedAt = startsAt.map(instant)
        next.goodAt = goodSince.map { max(instant(of: $0), next.openedAt ?? now) }
        if phase == .held { _ = next.flapping.change(at: now, by: policy) }
        return next
    }
}
