/// What was told already. Each text is to be told once, and no more of them than `limit`: whoever makes up ever new ones fills neither the log
/// nor memory.
public struct ToldOnce: Sendable {
    public enum Answer: Sendable {
        case tell
        /// To be told, and also that nothing is told from here on.
        case tellAsLast
        case beSilent
    }

    private let limit: Int
    private var told: Set<String> = []

    public init(limit: Int) {
        precondition(limit > 0, "something is to be told")
        self.limit = limit
    }

    /// - Parameter text: what tells it from others; made only while there is room for it.
    public mutating func answer(to text: @autoclosure () -> String) -> Answer {
        guard told.count < limit, told.insert(text()).inserted else { return .beSilent }
        return told.count < limit ? .tell : .tellAsLast
    }
}
