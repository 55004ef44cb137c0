import Glibc
import Vitals

/// A listener on 127.0.0.1 that is not what a client takes it for. Ends with the process of the tests: an optimised test would end an object
/// with the last use of its port, while somebody still waits for the server.
public struct FakeServer: Sendable {
    /// What it does with whoever connects.
    public enum Manner: Sendable {
        /// Takes connections, reads nothing and says nothing.
        case silent
        /// Reads what is sent first, sends this, and closes.
        case answers([UInt8])
        /// The same for all but the first, to whom it says nothing.
        case answersLaterOnes([UInt8])
        /// Waits until something is sent, sends this, and resets the connection: what was sent is never read.
        case answersUnread([UInt8])
        /// Reads what is sent first, and resets the connection.
        case resets
    }

    public let port: Int
    private let taken = Counter()

    /// Connections it has taken so far.
    public var connections: Int { taken.value }

    public init(_ manner: Manner) throws {
        let port = try unusedPort()
        let listener = try listeningSocket(port: port)
        self.port = port
        startThread { [taken] in
            var silenced: [Int32] = []
            while case let client = accept(listener, nil, nil), client >= 0 {
                taken.add()
                switch manner {
                case .silent: silenced.append(client)
                case .answersLaterOnes where taken.value == 1: silenced.append(client)
                case .answers(let bytes), .answersLaterOnes(let bytes):
                    Self.readFirst(client)
                    send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                    close(client)
                case .answersUnread(let bytes):
                    var first: UInt8 = 0
                    _ = recv(client, &first, 1, Int32(MSG_PEEK))
                    send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                    close(client)
                case .resets:
                    Self.readFirst(client)
                    var abrupt = linger(l_onoff: 1, l_linger: 0)
                    setsockopt(client, SOL_SOCKET, SO_LINGER, &abrupt, socklen_t(MemoryLayout<linger>.size))
                    close(client)
                }
            }
        }
    }

    public init(answering text: String) throws {
        try self.init(.answers(Array(text.utf8)))
    }

    private static func readFirst(_ client: Int32) {
        var bytes = [UInt8](repeating: 0, count: 4_096)
        _ = recv(client, &bytes, bytes.count, 0)
    }
}

extension FakeServer {
    /// A PostgreSQL that turns everybody away with one error, whoever asks and however.
    ///
    /// Source: PostgreSQL 15, section 55.7, ErrorResponse.
    public static func postgres(refusing sqlState: String, _ message: String) throws -> FakeServer {
        var fields: [UInt8] = []
        for (code, text) in [("S", "FATAL"), ("V", "FATAL"), ("C", sqlState), ("M", message), ("R", "ProcessStartupPacket")] {
            fields += Array((code + text).utf8) + [0]
        }
        fields.append(0)
        let length = UInt32(fields.count + 4)
        return try FakeServer(.answers([UInt8(ascii: "E")] + (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + fields))
    }
}
