import NIOCore

/// Tells whether the bytes of a connection end inside a header: the parser says when one is complete, and nothing when one begins.
struct HeaderBytes: Sendable {
    private(set) var isInHeader = false
    /// The last three bytes: an empty line may come in pieces.
    private var tail: [UInt8] = []

    private static func isLineEnd(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }

    /// - Parameters:
    ///   - bytes: that came.
    ///   - messages: whether the parser completed a header or a request in them.
    ///   - body: the last bytes of a body that ended in them, if one did.
    mutating func read(_ bytes: ByteBufferView, completed messages: Bool, body: ByteBufferView?) {
        defer { tail = Array((tail + bytes.suffix(3)).suffix(3)) }
        guard messages else {
            // Empty lines before a request are none of it (RFC 9112, 2.2).
            isInHeader = isInHeader || !bytes.allSatisfy(Self.isLineEnd)
            return
        }
        let end = tail + bytes.suffix(3)
        isInHeader = !(end.suffix(2) == [10, 10] || end.suffix(3) == [10, 13, 10] || body.map { Self.ends(bytes, with: $0) } == true)
    }

    /// But for line ends, which some clients send after a body.
    private static func ends(_ bytes: ByteBufferView, with body: ByteBufferView) -> Bool {
        var (ours, theirs) = (bytes[...], body[...])
        while let last = ours.last, isLineEnd(last) { ours.removeLast() }
        while let last = theirs.last, isLineEnd(last) { theirs.removeLast() }
        return ours.suffix(theirs.count).elementsEqual(theirs.suffix(ours.count))
    }
}
