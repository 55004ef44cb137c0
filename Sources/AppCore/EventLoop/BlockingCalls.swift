import Synchronization
import Vitals

/// Runs what libpq and the resolver can only do blocking, each call on a thread of its own, a bounded number at once.
///
/// A call that never returns costs its thread, not its caller: the caller gets its answer at the deadline.
final class BlockingCalls: Sendable {
    enum Failure: Error {
        /// The call did not return in time; its thread is left to finish by itself.
        case deadlineExceeded
        /// All threads are busy, most likely with calls that hang.
        case tooMany(limit: Int)
    }

    private let running = Mutex(0)
    private let limit: Int
    private let loop: EventLoop

    init(limit: Int, loop: EventLoop) {
        self.limit = limit
        self.loop = loop
    }

    func run<Value: Sendable>(name: String, until deadline: Deadline, _ body: @escaping @Sendable () -> Value) async throws -> Value {
        let admitted = running.withLock { running in
            guard running < limit else { return false }
            running += 1
            return true
        }
        guard admitted else { throw Failure.tooMany(limit: limit) }
        return try await withCheckedThrowingContinuation { continuation in
            let once = ResumeOnce(continuation)
            let timer = loop.schedule(at: deadline.instant) { once.resume(with: .failure(Failure.deadlineExceeded)) }
            do {
                try DetachedThread.start(name: name) { [self] in
                    let value = body()
                    running.withLock { $0 -= 1 }
                    loop.cancel(timer)
                    once.resume(with: .success(value))
                }
            } catch {
                running.withLock { $0 -= 1 }
                loop.cancel(timer)
                once.resume(with: .failure(error))
            }
        }
    }
}

/// A continuation that two parties may try to resume; the first wins.
final class ResumeOnce<Value: Sendable>: Sendable {
    private let continuation: Mutex<CheckedContinuation<Value, any Error>?>

    init(_ continuation: CheckedContinuation<Value, any Error>) {
        self.continuation = Mutex(continuation)
    }

    func resume(with result: Result<Value, any Error>) {
        let taken = continuation.withLock { held in
            defer { held = nil }
            return held
        }
        taken?.resume(with: result)
    }
}
