import FoundationEssentials
import Testing
import Vitals

@testable import Probes

@Suite struct `A webhook's address` {
    @Test(
        arguments: [
            ("https://example.org", "https://example.org", "example.org", nil),
            ("HTTPS://Example.org/Hook", "https://Example.org/Hook", "Example.org", nil),
            ("http://h:80/x?token=a@b&c=/d", "http://h:80/x?token=a@b&c=/d", "h:80", nil),
            ("http://h?x=1", "http://h/?x=1", "h", nil),
            ("http://h:/x", "http://h/x", "h", nil),
            ("http://h:65535/", "http://h:65535/", "h:65535", nil),
            ("http://[::1]:8080/x", "http://[::1]:8080/x", "[::1]:8080", nil),
            ("http://[2001:db8::1]/", "http://[2001:db8::1]/", "[2001:db8::1]", nil),
            ("http://h/höök%20{}", "http://h/h%C3%B6%C3%B6k%20%7B%7D", "h", nil),
            ("https://h/x?sig=a%2Bb%3D&x=[1]", "https://h/x?sig=a%2Bb%3D&x=%5B1%5D", "h", nil),
            ("https://h/[a]/%2F%5b", "https://h/%5Ba%5D/%2F%5b", "h", nil),
            ("https://h/a;b:c,d=e!$&'()*+~?f/g?h:i@j", "https://h/a;b:c,d=e!$&'()*+~?f/g?h:i@j", "h", nil),
            ("https://h//a/../b?", "https://h//a/../b?", "h", nil),
            ("http://a_b.local./", "http://a_b.local./", "a_b.local.", nil),
            ("http://user:pass@h/x", "http://h/x", "h", "user:pass"),
            ("https://token@h", "https://h", "h", "token:"),
            ("https://:key@h", "https://h", "h", ":key"),
            ("https://@h", "https://h", "h", nil),
            ("https://u%40x:p%2Fq%3A%C3%BC%25@h:1/", "https://h:1/", "h:1", "u@x:p/q:ü%"),
            ("https://u:p@ss:w@h", "https://h", "h", "u:p@ss:w"),
        ] as [(String, String, String, String?)])
    func `is taken apart`(text: String, url: String, host: String, credentials: String?) throws {
        let address = try WebhookAddress(text)
        #expect(address.url == url)
        #expect(address.host == host)
        #expect(address.authorization?.reveal() == credentials.map { "Basic " + Data($0.utf8).base64EncodedString() })
    }

    @Test(arguments: [
        ("canary", "does not begin with http:// or https://"), ("ftp://h/canary", "does not begin with http:// or https://"),
        ("http:/h/canary", "does not begin with http:// or https://"), ("http://", "names no host"), ("http:///canary", "names no host"),
        ("http://:80/canary", "names no host"), ("http://u:canary@/x", "names no host"), ("http://h canary/", "has a blank or a line end in it; write a blank as %20"),
        ("http://h/canary\r\nX: y", "has a blank or a line end in it; write a blank as %20"), ("http://h/canary#x", "has a #, and what stands behind it is never sent; leave it out, or write it as %23"),
        ("http://bücher.example/canary", "has a host with letters beyond ASCII; write it in its xn-- form"),
        ("http://h%20x/canary", "has a host that is neither a name nor an address"), ("http://a,b/canary", "has a host that is neither a name nor an address"),
        ("http://[canary]/", "has [ ] around what is no IPv6 address; one with a zone is not spoken to"),
        ("http://[fe80::1%25lo]/canary", "has [ ] around what is no IPv6 address; one with a zone is not spoken to"),
        ("http://[::1/canary", "has an IPv6 address that is not [ADDRESS] or [ADDRESS]:PORT"), ("http://[::1]x/canary", "has an IPv6 address that is not [ADDRESS] or [ADDRESS]:PORT"),
        ("http://h:0/canary", "has a port that is not a number from 1 to 65535; a / or an @ in a user name or password is written %2F or %40"),
        ("http://127.0.0.1:65536/canary", "has a port that is not a number from 1 to 65535; a / or an @ in a user name or password is written %2F or %40"),
        ("http://127.0.0.1:90800/canary", "has a port that is not a number from 1 to 65535; a / or an @ in a user name or password is written %2F or %40"),
        ("http://u:canary/x@h/", "has a port that is not a number from 1 to 65535; a / or an @ in a user name or password is written %2F or %40"),
        ("http://u%3Ax:canary@h/", "has a : in its user name, which HTTP cannot tell from the one before the password"),
        ("http://u:canary%0D%0A@h/", "has a control character in its user name or password"),
        ("http://u:canary%@h/", "has a % in its user name or password that no two hexadecimal digits follow; write %25 for a %"),
        ("http://h/canary%", "has a % in its path or query that no two hexadecimal digits follow; write %25 for a %"),
        ("http://h/x?canary=100%&y=1", "has a % in its path or query that no two hexadecimal digits follow; write %25 for a %"),
        ("http://h/canary%E4", "has a path or a query that would arrive changed; write it percent-encoded, in UTF-8"),
        ("http://h\\@canary/", "has a \\ after its host"),
    ])
    func `that cannot be used is refused without being quoted`(text: String, complaint: String) {
        let error = #expect(throws: WebhookAddress.Complaint.self) { try WebhookAddress(text) }
        #expect(error?.text == complaint)
    }

    @Test func `shows neither user nor password in a receiver`() throws {
        let receiver = try Receiver(name: "oncall", url: "https://canary:canary@example.org/canary")
        var dumped = "\(receiver)"
        dump(receiver, to: &dumped)
        #expect(!dumped.contains("canary") && receiver.host == "example.org")
        // "canary:canary" in base64.
        #expect(!dumped.contains("Y2FuYXJ5"))
    }

    @Test(arguments: ["http://127.0.0.1:1/", "http://[::1]:1/x", "http://localhost:1/?q=%7B", "http://a_b.invalid/"])
    func `is one that the client takes`(url: String) async throws {
        // Nobody is expected to listen there: what counts is that no client says it cannot read the address.
        let sender = WebhookSender(version: "0", time: SystemTime())
        let answer = await sender.send([], id: "x", to: try Receiver(name: "oncall", url: url))
        try await sender.shutdown()
        let words = "\(answer)"
        #expect(!words.contains("URL") && !words.contains("Host") && !words.contains("cheme"), "\(words)")
    }
}
