/// The newest samples, oldest first, and how many of the last n say something.
///
/// Votes instead of consecutive counts: one failure in three never makes three in a row, and is an outage all the same.
public struct SampleWindow: Sendable, Hashable {
    public let capacity: Int
    public private(set) var samples: [Sample] = []

    public init(capacity: Int) {
        precondition(capacity > 0, "SampleWindow needs room for one sample")
        self.capacity = capacity
    }

    public init(_ samples: [Sample], capacity: Int) {
        self.init(capacity: capacity)
        samples.forEach { append($0) }
    }

    public var newest: Sample? { samples.last }

    public mutating func append(_ sample: Sample) {
        if samples.count == capacity { samples.removeFirst() }
        samples.append(sample)
    }

    /// How many of the last `n` samples satisfy the condition.
    public func count(last n: Int, where condition: (Sample) -> Bool) -> Int {
        samples.suffix(n).count(where: condition)
    }

    /// The same samples with another bound; the oldest go when it is smaller.
    public func resized(to capacity: Int) -> SampleWindow {
        SampleWindow(samples, capacity: capacity)
    }
}
