/// The way to a receiver: over the network, or a stand-in in tests.
public protocol NoticeSender: Sendable {
    /// One attempt; never throws, never takes longer than its own limit.
    func send(_ body: [UInt8], id: String, to receiver: Receiver) async -> DeliveryAnswer
}
