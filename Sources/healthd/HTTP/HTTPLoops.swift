import NIOCore
import Synchronization
import Vitals

/// When each event loop of the HTTP server last did what it was asked to: a loop that hangs answers nobody, and nothing else shows that.
final class HTTPLoops: Sendable {
    private struct Turn {
        var last: MonotonicInstant
        var isAsked = false
    }

    static let beat = Duration.seconds(1)
    /// Loops also render and compress answers, on a machine that may be busy: a late turn is no stall.
    static let cycle = Duration.seconds(10)

    /// Loops at most, of as many as there are cores: NIO ends the process where a thread cannot be had, and a unit's TasksMax= counts all of them.
    static let most = 8

    private let loops: [any EventLoop]
    private let turns: Mutex<[Turn]>
    private let time: any TimeSource

    init(_ group: any EventLoopGroup, time: any TimeSource) {
        loops = Array(group.makeIterator())
        let now = time.now()
        turns = Mutex(loops.map { _ in Turn(last: now) })
        self.time = time
    }

    /// Of the loop that has been silent for longest.
    var lastTurned: MonotonicInstant { turns.withLock { $0.map(\.last).min() } ?? time.now() }

    /// Asks each loop for a turn, once a second, until cancelled.
    func run() async {
        repeat { ask() } while (try? await time.sleep(for: Self.beat)) != nil
    }

    /// One that has not answered yet is not asked again: what waits for it does not grow.
    func ask() {
        for (index, loop) in loops.enumerated() {
            let isAsked = turns.withLock { turns in
                defer { turns[index].isAsked = true }
                return turns[index].isAsked
            }
            guard !isAsked else { continue }
            loop.execute { [self] in
                let now = time.now()
                turns.withLock { $0[index] = Turn(last: now) }
            }
        }
    }
}
