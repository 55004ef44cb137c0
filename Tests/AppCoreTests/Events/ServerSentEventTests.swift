import Testing

@testable import AppCore

struct `Server-sent events` {
    @Test(arguments: [
        (ServerSentEvent(data: "a"), "data: a\n\n"),
        (ServerSentEvent(data: ""), "data: \n\n"),
        (ServerSentEvent(id: "b-1", event: "task:state", data: "{}"), "id: b-1\nevent: task:state\ndata: {}\n\n"),
        (ServerSentEvent(data: "a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerSentEvent(id: "1\0\n2", event: "x\r\ny", data: "n\0ul"), "id: 12\nevent: xy\ndata: nul\n\n"),
        (ServerSentEvent(data: "a", retry: .milliseconds(1_500)), "retry: 1500\ndata: a\n\n"),
    ])
    func `render as the standard says`(event: ServerSentEvent, text: String) {
        #expect(String(decoding: event.rendered(), as: UTF8.self) == text)
    }

    @Test func `a comment is a line that starts with a colon`() {
        #expect(String(decoding: ServerSentEvent.comment("still here"), as: UTF8.self) == ": still here\n\n")
    }
}
