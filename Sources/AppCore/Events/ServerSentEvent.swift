import Vitals

/// One event of a `text/event-stream`, or a comment that keeps it open.
///
/// Source: WHATWG HTML, section 9.2.6, interpreting an event stream.
public struct ServerSentEvent: Sendable, Hashable {
    /// Sent back by the client as `Last-Event-ID`.
    public var id: String?
    public var event: String?
    public var data: String
    /// How long the client is to wait before it connects again.
    public var retry: Duration?

    public init(id: String? = nil, event: String? = nil, data: String, retry: Duration? = nil) {
        self.id = id
        self.event = event
        self.data = data
        self.retry = retry
    }

    /// The bytes of the event, the empty line at its end included.
    ///
    /// Every line of `data` becomes a line of its own. Line ends and NUL in `id` and `event`, which would end the field or void it, are dropped.
    public func rendered() -> [UInt8] {
        var output: [UInt8] = []
        if let retry { output += "retry: \(retry.nanoseconds / 1_000_000)\n".utf8 }
        if let id { Self.append("id", id, to: &output) }
        if let event { Self.append("event", event, to: &output) }
        Self.appendLines("data: ", data, to: &output)
        output.append(0x0A)
        return output
    }

    /// A comment: ignored by clients, seen by proxies that close silent connections.
    public static func comment(_ text: String) -> [UInt8] {
        var output: [UInt8] = []
        appendLines(": ", text, to: &output)
        output.append(0x0A)
        return output
    }

    private static func append(_ field: String, _ value: String, to output: inout [UInt8]) {
        output += "\(field): ".utf8
        output += value.utf8.filter { $0 != 0x0A && $0 != 0x0D && $0 != 0 }
        output.append(0x0A)
    }

    private static func appendLines(_ prefix: String, _ text: String, to output: inout [UInt8]) {
        output += prefix.utf8
        var previous: UInt8 = 0
        for byte in text.utf8 {
            defer { previous = byte }
            switch byte {
            // CR LF is one line end, and so is each alone.
            case 0x0A where previous == 0x0D: continue
            case 0x0A, 0x0D:
                output.append(0x0A)
                output += prefix.utf8
            case 0: continue
            default: output.append(byte)
            }
        }
        output.append(0x0A)
    }
}
