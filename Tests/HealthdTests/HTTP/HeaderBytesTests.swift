import NIOCore
import Testing

@testable import healthd

@Suite struct `Header bytes` {
    /// One read: its bytes, whether the parser completed something in them, and the last of a body that ended.
    typealias Read = (bytes: String, completed: Bool, body: String?)

    static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    @Test(
        arguments: [
            ("a whole request", [(get, true, nil)], false),
            ("the first byte", [("G", false, nil)], true),
            ("line ends alone", [("\r\n", false, nil), ("\n", false, nil)], false),
            ("a line end after a request", [(get, true, nil), ("\r\n", false, nil)], false),
            ("a line end right behind a request", [(get + "\r\n", true, nil)], false),
            ("line ends, then a byte", [("\r\n", false, nil), ("G", false, nil)], true),
            ("a line end inside a header", [("GET / HTTP/1.1", false, nil), ("\r\n", false, nil)], true),
            ("a header byte by byte", [(String(get.unicodeScalars.dropLast()), false, nil), ("\n", true, nil)], false),
            ("lines that end without CR", [("GET / HTTP/1.0\n", false, nil), ("\n", true, nil)], false),
            ("a request and half a header", [(get + "GET / HTTP/1.1\r\nHost: x\r\n", true, nil)], true),
            ("half a header, and its end in the next read", [(get + "GET / HTTP/1.1\r\n", true, nil), ("Host: x\r\n\r\n", true, nil)], false),
            ("a body", [("POST / HTTP/1.1\r\n\r\n{1}", true, "{1}")], false),
            ("a body and a line end", [("POST / HTTP/1.1\r\n\r\n{1}\r\n", true, "{1}")], false),
            ("a body of two reads", [("POST / HTTP/1.1\r\n\r\n{", true, nil), ("1}", true, "1}")], false),
            ("a body and half a header", [("POST / HTTP/1.1\r\n\r\n{1}GET /", true, "{1}")], true),
        ] as [(String, [Read], Bool)])
    func `what came ends inside a header`(_ name: String, reads: [Read], expected: Bool) {
        var header = HeaderBytes()
        for read in reads {
            header.read(
                ByteBuffer(string: read.bytes).readableBytesView, completed: read.completed,
                body: read.body.map { ByteBuffer(string: $0).readableBytesView })
        }
        #expect(header.isInHeader == expected)
    }
}
