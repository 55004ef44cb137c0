import AppCore
import Probes
import Vitals

extension Program {
    static let loopBeat = Duration.seconds(1)

    /// Makes the event loop turn once a second, also when it has nothing else to do: so it can be seen to be alive.
    func beat() async {
        while (try? await time.sleep(for: Self.loopBeat)) != nil {
            loop.turn()
        }
    }

    /// Our own parts, never the health of what we watch.
    var watchdogParts: [WatchdogGate.Part] {
        [
            WatchdogGate.Part(name: "event loop", lastProgress: loop.lastTurned, cycle: Self.loopBeat * 2),
            WatchdogGate.Part(name: "HTTP event loop", lastProgress: httpLoops.lastTurned, cycle: HTTPLoops.cycle),
            WatchdogGate.Part(name: "HTTP connections", lastProgress: connections.lastSweep, cycle: Connections.cycle),
        ]
            + runners.map {
                WatchdogGate.Part(name: "probe \($0.probe.id)", lastProgress: $0.progress, cycle: $0.longestSilence)
            }
    }

    /// Keeps the unit's status line the board's sentence. Each transition is told at once; the notifier limits the rate.
    func tellStatus(to notifier: SystemdNotifier) async {
        let board = board
        board.observe { _ in notifier.status(board.snapshot().sentence) }
        repeat {
            notifier.status(board.snapshot().sentence)
        } while (try? await time.sleep(for: .seconds(1))) != nil
    }

    /// After everything has stopped.
    func end() async {
        watchers.postgres.close()
        loop.shutdown()
    }
}
