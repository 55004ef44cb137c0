public import Vitals

/// Whom we tell.
public struct Receiver: Sendable, Hashable {
    /// Unique; also the label of its metrics.
    public var name: String
    /// The webhook's address, without user and password. Its path is as good as a password, so only `host` is ever logged or shown.
    public var url: Secret
    /// What is sent as `Authorization`, where the address names a user.
    public var authorization: Secret?
    /// `host` or `host:port`.
    public var host: String
    /// Signing keys, the current one first; a second one during rotation. Without any the notices are not signed.
    public var secrets: [Secret]

    public init(name: String, url: String, secrets: [Secret] = []) throws(ReceiverProblem) {
        guard !name.isEmpty else { throw ReceiverProblem(receiver: name, setting: .name, text: "is empty") }
        let address: WebhookAddress
        do {
            address = try WebhookAddress(url)
        } catch {
            throw ReceiverProblem(receiver: name, setting: .webhook, text: error.text)
        }
        for secret in secrets where SigningKey(secret) == nil {
            throw ReceiverProblem(
                receiver: name, setting: .secretFile, text: "names a secret that is empty, or starts with whsec_ and is not base64 after it")
        }
        self.name = name
        self.url = Secret(address.url)
        authorization = address.authorization
        host = address.host
        self.secrets = secrets
    }
}

/// Why a receiver cannot be used; never contains its address or secret.
public struct ReceiverProblem: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Setting: String, Sendable {
        case name, webhook
        case secretFile = "secret-file"
    }

    public var receiver: String
    public var setting: Setting
    /// Continues a sentence that begins with the setting.
    public var text: String

    public var description: String { "receiver \"\(receiver)\": its \(setting.rawValue) \(text)" }
}
