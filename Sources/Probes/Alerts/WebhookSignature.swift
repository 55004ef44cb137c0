import FoundationEssentials
public import Vitals

/// A key that notices are signed with.
struct SigningKey {
    private let key: [UInt8]

    /// `whsec_` and base64, or any other text taken as the key's bytes; nil when empty or not base64 after the prefix.
    init?(_ secret: Secret) {
        let text = secret.reveal()
        let prefix = "whsec_"
        if text.hasPrefix(prefix) {
            guard let bytes = Data(base64Encoded: String(text.dropFirst(prefix.count))), !bytes.isEmpty else { return nil }
            key = Array(bytes)
        } else {
            guard !text.isEmpty else { return nil }
            key = Array(text.utf8)
        }
    }

    func signature(of content: Data) -> String {
        "v1," + Data(SHA256.authenticationCode(for: content, key: key)).base64EncodedString()
    }
}

/// The value of `webhook-signature`: one signature per key, blank between them; nil without a key.
///
/// Source: Standard Webhooks, "Signature scheme": HMAC-SHA256 over `id.timestamp.body`, the timestamp in whole seconds.
public func webhookSignature(id: String, timestamp: Int64, body: [UInt8], secrets: [Secret]) -> String? {
    let content = Data("\(id).\(timestamp).".utf8) + Data(body)
    let signatures = secrets.compactMap { SigningKey($0)?.signature(of: content) }
    return signatures.isEmpty ? nil : signatures.joined(separator: " ")
}
