/// One JSON value as it was written: passed on without being read, so that nothing in it is changed on the way.
public struct RawJSON: Sendable, Hashable {
    public let text: String

    public init(_ value: JSONValue) {
        text = value.text
    }

    init(unread text: String) {
        self.text = text
    }

    /// Nil for what this program cannot read, such as a value that nests deeper than `JSONValue.depthLimit`.
    public var value: JSONValue? { JSONValue(text: text) }
}

extension RawJSON: SQLParameter {
    public var sqlText: String? { text }
}

extension Row {
    func rawJSON(_ column: String) throws(PostgresError) -> RawJSON { RawJSON(unread: try string(column)) }
}
