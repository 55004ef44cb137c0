import HTTPTypes
import Hummingbird
import NIOCore
import Testing

@testable import healthd

/// Who may reload, and hold connections of the demo.
@Suite struct `The operator` {
    private func isAdmitted(fromLoopback isFromLoopback: Bool, site: String? = nil) throws -> Bool {
        var head = HTTPRequest(method: .post, scheme: "http", authority: "localhost:9798", path: "/-/reload")
        if let site { head.headerFields[try #require(HTTPField.Name("Sec-Fetch-Site"))] = site }
        do {
            try requireLocalOperator(Request(head: head, body: RequestBody(buffer: ByteBuffer())), isFromLoopback: isFromLoopback)
            return true
        } catch let error as ErrorAnswer {
            #expect(error.status == .forbidden)
            return false
        }
    }

    @Test func `is on this machine, and no page of another site`() throws {
        #expect(try isAdmitted(fromLoopback: true))
        #expect(try isAdmitted(fromLoopback: true, site: "same-origin"))
        #expect(try isAdmitted(fromLoopback: true, site: "none"))
        for site in ["cross-site", "same-site", ""] { #expect(try !isAdmitted(fromLoopback: true, site: site), "\(site)") }
        for site in [nil, "same-origin", "none"] { #expect(try !isAdmitted(fromLoopback: false, site: site)) }
    }

    @Test(arguments: [
        ("127.0.0.1", true), ("127.8.9.10", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.1.2.3", false), ("192.168.1.27", false),
        ("172.17.0.1", false), ("::", false), ("::ffff:10.1.2.3", false), ("fe80::1", false), ("2001:db8::127", false), ("12.127.0.1", false),
    ])
    func `is known by its address`(address: String, isLocal: Bool) throws {
        #expect(HTTPContext.isLoopback(try SocketAddress(ipAddress: address, port: 9)) == isLocal)
    }

    @Test func `may come by a unix socket, but not from nowhere`() throws {
        #expect(HTTPContext.isLoopback(try SocketAddress(unixDomainSocketPath: "/run/healthd.sock")))
        #expect(!HTTPContext.isLoopback(nil))
    }
}
