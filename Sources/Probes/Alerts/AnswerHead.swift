/// The beginning of an answer, byte by byte: what its status is, and lines that end with CR LF as the parser wants them.
///
/// Source: RFC 9112, section 2.2: a single LF may end a line, as what shell scripts print does; section 4 for the status line.
struct AnswerHead: Sendable {
    /// Of the line that is being read, without its end.
    private var length = 0
    private var last: UInt8 = 0
    private var isStatusLine = true
    /// The first bytes of the status line, as many as are looked at.
    private var beginning: [UInt8] = []
    private(set) var isWhole = false

    private static let looksAt = "HTTP/1.1 200".utf8.count

    /// Nil until the status line has come, and for good when the other side does not speak HTTP/1.
    var status: Int? {
        guard beginning.count == Self.looksAt, beginning.starts(with: "HTTP/1.".utf8), beginning[8] == UInt8(ascii: " ") else { return nil }
        return Int(String(decoding: beginning.suffix(3), as: UTF8.self)).flatMap { (100...599).contains($0) ? $0 : nil }
    }

    /// The same bytes, with a CR before each LF of the head that has none. What follows the head stays as it is.
    mutating func taking(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var taken: [UInt8] = []
        for byte in bytes {
            if !isWhole { look(at: byte, &taken) }
            taken.append(byte)
        }
        return taken
    }

    private mutating func look(at byte: UInt8, _ taken: inout [UInt8]) {
        defer { last = byte }
        guard byte == UInt8(ascii: "\n") else {
            if byte == UInt8(ascii: "\r") { return }
            length += 1
            if isStatusLine, beginning.count < Self.looksAt { beginning.append(byte) }
            return
        }
        if last != UInt8(ascii: "\r") { taken.append(UInt8(ascii: "\r")) }
        if length > 0 {
            isStatusLine = false
        } else if let status, status < 200 {
            // An interim answer (1xx): another head follows.
            (isStatusLine, beginning) = (true, [])
        } else {
            isWhole = true
        }
        length = 0
    }
}
