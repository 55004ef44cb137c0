import AppCore
import Probes
import Synchronization

/// Has the pool's probe look at once when callers feel the pool's load, so that saturation does not wait for the next sample.
///
/// The pool is made before the probe that looks at it; until they are joined nothing happens.
final class PressureRelay: Sendable {
    private let runner = Mutex<ProbeRunner?>(nil)

    func connect(to runner: ProbeRunner) {
        self.runner.withLock { $0 = runner }
    }

    func tell(_: PoolPressure) { runner.withLock { $0 }?.nudge() }
}
