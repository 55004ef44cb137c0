import AppCore
import Probes
import Synchronization

/// Takes the pool's edges to the pool's probe, so that saturation does not wait for the next sample.
///
/// The pool is made before the probe that looks at it; until they are joined an edge goes nowhere.
final class PressureRelay: Sendable {
    private let runner = Mutex<ProbeRunner?>(nil)

    func connect(to runner: ProbeRunner) {
        self.runner.withLock { $0 = runner }
    }

    func tell(_ edge: PoolPressure) {
        switch edge {
        // A first waiter is a passing burst more often than not; `sustained` comes 250 ms later if it is not.
        case .firstWaiter, .relieved: break
        case .sustained, .queueDeadline, .refused: runner.withLock { $0 }?.nudge()
        }
    }
}
