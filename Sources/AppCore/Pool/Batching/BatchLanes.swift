/// How many batches may be under way, and who leaves when.
///
/// With one batch alone, client and server would take turns: each sleeps while the other works, and waking up takes as long as running several
/// statements. With two, one batch is worked on while the other is sent or answered.
struct BatchLanes {
    /// Fewer are not worth a round trip of their own while another batch is under way.
    static let least = 4

    /// Most batches that may be under way.
    let limit: Int
    private(set) var underWay = 0
    /// Statements of the batch that left last.
    private var lastSize = 0

    init(limit: Int) {
        self.limit = limit
    }

    /// Whether a batch of so many statements may leave. When none is under way, any number may; else `least` at least, and half as many as the
    /// last batch had.
    func mayLeave(_ waiting: Int) -> Bool {
        guard underWay > 0 else { return waiting > 0 }
        return underWay < limit && waiting >= max(Self.least, lastSize / 2)
    }

    /// A batch leaves.
    ///
    /// - Returns: how many of those who wait go with it: half of them, if that is enough for both lanes.
    mutating func leave(_ waiting: Int) -> Int {
        let isShared = underWay == 0 && limit > 1 && waiting >= 2 * Self.least
        lastSize = isShared ? (waiting + 1) / 2 : waiting
        underWay += 1
        return lastSize
    }

    /// A batch was answered, or had nobody to go with it.
    mutating func ended() { underWay -= 1 }
}
