import Vitals

/// Decides whether the watchdog may be told that we are well: only if every named part made progress lately.
///
/// The parts are our own: the event loops, the watch over HTTP connections, and each probe's runner, which gets on though its probe hangs. The health of a database is not among them: its death must not restart us.
struct WatchdogGate: Sendable {
    struct Part: Sendable, Hashable {
        /// As an operator would call it: `event loop`, `probe postgres`.
        var name: String
        var lastProgress: MonotonicInstant
        /// The longest time an honest part lets pass between two instants of progress: interval plus timeout of a probe.
        var cycle: Duration
    }

    struct Stall: Sendable, Hashable, CustomStringConvertible {
        var part: String
        var age: Duration
        var limit: Duration

        var description: String { "\(part) has made no progress for \(age.text) (limit \(limit.text))" }
    }

    enum Answer: Sendable, Hashable {
        case ping
        /// No ping; a part that comes back in time is forgiven.
        case withhold(Stall)
        /// The part will not come back: ask to be restarted now, while STATUS names it.
        case trigger(Stall)
    }

    /// WATCHDOG_USEC: silence for this long, and systemd kills us.
    let timeout: Duration
    private var lastLook: MonotonicInstant?
    private var wokenAt: MonotonicInstant?

    init(timeout: Duration) {
        precondition(timeout > .zero, "a watchdog without a time is none")
        self.timeout = timeout
    }

    /// Time between two looks: a quarter, so that one late look still leaves a ping within half the time.
    var interval: Duration { max(timeout / 4, .milliseconds(1)) }

    /// One look: the part that has been silent longest beyond its limit decides.
    mutating func look(at parts: [Part], now: MonotonicInstant) -> Answer {
        // We ourselves were stopped (SIGSTOP, a frozen machine): all parts look old at once, so they are given their time anew.
        if let lastLook, now - lastLook > timeout / 2 { wokenAt = now }
        lastLook = now
        let stalls = parts.compactMap { part -> Stall? in
            let since = max(part.lastProgress, wokenAt ?? part.lastProgress)
            let limit = max(part.cycle, timeout / 2)
            return now - since > limit ? Stall(part: part.name, age: now - part.lastProgress, limit: limit) : nil
        }
        guard let worst = stalls.max(by: { $0.age - $0.limit < $1.age - $1.limit }) else { return .ping }
        return worst.age > worst.limit + timeout / 2 ? .trigger(worst) : .withhold(worst)
    }
}
