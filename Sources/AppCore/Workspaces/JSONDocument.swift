/// The body of an answer, as it is sent.
public struct JSONDocument: Sendable, Hashable {
    public var bytes: [UInt8]
    /// Of the row that it shows, where it has one.
    public var version: Int?

    public init(_ bytes: [UInt8], version: Int? = nil) {
        self.bytes = bytes
        self.version = version
    }
}
