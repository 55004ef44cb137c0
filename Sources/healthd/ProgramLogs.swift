import AppCore
import Logging
import Probes
import Vitals

/// The pool's events, under the names the application knows: for its developers. All but the first are at debug level.
struct PoolLog: Sendable {
    let logger: Logger

    func record(_ event: PoolEvent) {
        switch event {
        case .poolCreated(let max, let min):
            logger.info("pool_created", metadata: ["max": "\(max)", "min": "\(min)"])
        case .clientCreated(let pid, let took):
            logger.debug("client_created", metadata: ["backend": "\(pid)", "took": "\(took.text)"])
        case .clientCheckout(let purpose, let waited):
            logger.debug("client_checkout", metadata: ["purpose": "\(purpose)", "waited": "\(waited.text)"])
        case .clientRelease(let purpose, let held):
            logger.debug("client_release", metadata: ["purpose": "\(purpose)", "held": "\(held.text)"])
        }
    }
}

/// Every change of a verdict, once, at the level of who should read it.
struct TransitionLog: Sendable {
    let logger: Logger

    func record(_ transition: Transition) {
        let level: Logger.Level =
            switch transition.to {
            case .critical: .error
            case .degraded: .warning
            case .healthy, .unknown: .info
            }
        var metadata: Logger.Metadata = [
            "rule": "\(transition.rule)", "from": "\(transition.from.rawValue)", "reason": "\(transition.reason)",
            "lasted": "\(transition.previousDuration.text)",
        ]
        // The numbers behind the reason, each apart, for whoever searches or counts: the judged one is `value`.
        for (name, number) in transition.measured { metadata[name] = Self.text(number) }
        if let value = transition.value {
            metadata["value"] = Self.text(value)
            metadata["unit"] = "\(transition.unit.rawValue)"
        }
        if let threshold = transition.threshold { metadata["threshold"] = Self.text(threshold) }
        logger.log(level: level, "\(transition.component) is \(transition.to.rawValue)", metadata: metadata)
    }

    /// A whole number without a point.
    private static func text(_ number: Double) -> Logger.MetadataValue {
        Int(exactly: number).map { "\($0)" } ?? "\(number)"
    }
}
