import Synchronization

/// A value that is asked for when it is first wanted, and then kept. The store does each write twice, in memory and in its file, and both must get
/// the same.
final class Once<Value: Sendable>: Sendable {
    private let ask: @Sendable () -> Value
    private let answer = Mutex<Value?>(nil)

    init(_ ask: @escaping @Sendable () -> Value) { self.ask = ask }

    var value: Value {
        answer.withLock { answer in
            let value = answer ?? ask()
            answer = value
            return value
        }
    }
}
