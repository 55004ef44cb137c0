import Vitals

/// To whom a notice is owed. Identity is the address. A renamed receiver still counts as told; one with a new address does not.
struct Recipient: Sendable, Hashable {
    var name: String
    /// A hash: tells one address from another, and not what it is.
    var addressKey: String

    /// What the keys of all recipients with its address have in common.
    var address: Substring { addressKey.prefix { $0 != "/" } }
}

extension Recipient {
    /// - Parameter receivers: each name once. Of several with one address the first has the plain key. The keys of the others end in their names.
    static func all(_ receivers: [Receiver]) -> [Recipient] {
        var taken: Set<String> = []
        return receivers.map { receiver in
            let plain = String(SHA256.hexadecimal("\(receiver.url.reveal())\n\(receiver.authorization?.reveal() ?? "")").prefix(16))
            return Recipient(name: receiver.name, addressKey: taken.insert(plain).inserted ? plain : "\(plain)/\(receiver.name)")
        }
    }
}
