import Dispatch
import Synchronization

/// A thread for work that may never come back, such as a call to a disk that is frozen. Whoever asks waits for so long, and no longer.
///
/// What was given up may still be done later: it must touch nothing that others use by then.
public final class PatientThread: Sendable {
    /// What was asked is not done, or what was given up before it is not.
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

    /// Blocks for as long as the patience lasts. While what was given up is still under way nothing else is begun: `Hangs` is thrown at once.
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

    /// For what nobody waits for. Whatever is asked afterwards comes after it.
    func later(_ body: @escaping @Sendable () -> Void) {
        thread.async(execute: body)
    }
}
