import Synchronization
import Vitals

/// What one attempt to connect leaves for the next, and what connections tell each other.
final class ConnectorMemory: Sendable {
    private struct State {
        var mayAskForSystem = true
        /// Servers that took the attempt and did not answer, and until when that counts.
        var silent: [HostEntry: MonotonicInstant] = [:]
    }

    private let state = Mutex(State())
    let stale = StalePlans()

    /// A silent server is asked last, and briefly, for so long.
    static let silenceCounts = Duration.seconds(30)

    var mayAskForSystem: Bool { state.withLock { $0.mayAskForSystem } }

    func mayNotAskForSystem() { state.withLock { $0.mayAskForSystem = false } }

    func silent(_ entry: HostEntry, now: MonotonicInstant) {
        state.withLock { state in
            state.silent = state.silent.filter { $0.value > now }
            state.silent[entry] = now + Self.silenceCounts
        }
    }

    func silentOnes(now: MonotonicInstant) -> Set<HostEntry> {
        state.withLock { state in Set(state.silent.filter { $0.value > now }.keys) }
    }
}
