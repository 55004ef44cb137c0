import Synchronization

/// A number that only grows, for as long as the process lives.
public final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    public init() {}

    public func add(_ amount: Int = 1) {
        count.add(amount, ordering: .relaxed)
    }

    public var value: Int { count.load(ordering: .relaxed) }
}

/// Counters of one family told apart by a small, closed set of label values.
public final class LabelledCounter<Label: Hashable & Sendable>: Sendable {
    private let counts: Mutex<[Label: Int]>

    /// - Parameter known: labels that read 0 from the start, so that a rate exists before the first event.
    public init(known: [Label] = []) {
        counts = Mutex(Dictionary(uniqueKeysWithValues: Set(known).map { ($0, 0) }))
    }

    public func add(_ amount: Int = 1, for label: Label) {
        counts.withLock { $0[label, default: 0] += amount }
    }

    public var values: [Label: Int] { counts.withLock { $0 } }
}
