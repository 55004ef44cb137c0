import Glibc
import Vitals

/// A way to a server on 127.0.0.1 that takes time: what a client sends is passed on a millisecond later. Ends with the process of the tests.
public struct Relay: Sendable {
    public let port: Int
    private let sent = Counter()

    /// How often a client has sent something. One that waits for each answer makes as many round trips.
    public var sendings: Int { sent.value }

    public init(to target: Int) throws {
        let port = try unusedPort()
        let listener = try listeningSocket(port: port)
        self.port = port
        startThread { [sent] in
            while case let client = accept(listener, nil, nil), client >= 0 {
                guard let server = try? connectedSocket(port: target) else {
                    close(client)
                    continue
                }
                for one in [client, server] {
                    var isOn: Int32 = 1
                    setsockopt(one, Int32(IPPROTO_TCP), TCP_NODELAY, &isOn, socklen_t(MemoryLayout<Int32>.size))
                }
                startThread {
                    Self.pass(from: client, to: server) {
                        sent.add()
                        poll(nil, 0, 1)
                    }
                }
                startThread { Self.pass(from: server, to: client) {} }
            }
        }
    }

    private static func pass(from source: Int32, to sink: Int32, _ before: () -> Void) {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while case let count = recv(source, &bytes, bytes.count, 0), count > 0 {
            before()
            guard send(sink, bytes, count, Int32(MSG_NOSIGNAL)) == count else { break }
        }
        shutdown(sink, Int32(SHUT_RDWR))
    }
}
