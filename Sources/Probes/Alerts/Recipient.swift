import Vitals

/// To whom a notice is owed: known by its address, called by its name.
///
/// Whoever is at the address was told; a receiver that got another name is still the one that knows, and one that got another address is not.
struct Recipient: Sendable, Hashable {
    var name: String
    /// Tells one address from another, and not what it is.
    var address: String
}

extension Recipient {
    /// - Parameter receivers: each name once. Of several with one address the first has it, the others go by their name as well.
    static func all(_ receivers: [Receiver]) -> [Recipient] {
        var taken: Set<String> = []
        return receivers.map { receiver in
            let plain = String(SHA256.hexadecimal("\(receiver.url.reveal())\n\(receiver.authorization?.reveal() ?? "")").prefix(16))
            return Recipient(name: receiver.name, address: taken.insert(plain).inserted ? plain : "\(plain)/\(receiver.name)")
        }
    }
}
