import Dispatch
import Synchronization

/// A thread for work that may never come back, such as a call to a disk that is frozen. Whoever asks waits as long as `patience`, and no longer.
///
/// Work that was given up may still be done later: it must touch nothing that others use by then.
public final class PatientThread: Sendable {
    /// The work was not done in time, or earlier work that was given up is still under way.
    public struct Hangs: Error, CustomStringConvertible {
        var patience: Duration

        public var description: String { "its disk has not answered for \(patience.text) or longer; is it frozen, or its file server away?" }
    }

    /// How long the disk is waited for.
    public static let patience = Duration.seconds(5)

    private final class Work<Value: Sendable>: Sendable {
        let result = Mutex<Result<Value, any Error>?>(nil)
        let isDone = Latch()
    }

    private let thread: DispatchQueue
    private let patience: Duration
    private let isBusy = Mutex(false)

    public init(_ label: String, patience: Duration = PatientThread.patience) {
        thread = DispatchQueue(label: label)
        self.patience = patience
    }

    /// Blocks until `body` is done, at most for `patience`. While earlier work that was given up is under way, throws `Hangs` at once.
    public func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
        let isFree = isBusy.withLock { isBusy in
            defer { isBusy = true }
            return !isBusy
        }
        guard isFree else { throw Hangs(patience: patience) }
        let work = Work<Value>()
        thread.async {
            let result = Result { try body() }
            work.result.withLock { $0 = result }
            self.isBusy.withLock { $0 = false }
            work.isDone.open()
        }
        guard work.isDone.wait(within: patience) else { throw Hangs(patience: patience) }
        guard let result = work.result.withLock({ $0 }) else { preconditionFailure("work that is done has a result") }
        return try result.get()
    }

    /// For work that nobody waits for. Whatever is asked afterwards comes after it.
    func later(_ body: @escaping @Sendable () -> Void) {
        thread.async(execute: body)
    }
}
