import FoundationEssentials
public import Vitals

/// Whom we tell.
public struct Receiver: Sendable, Hashable {
    /// Unique; also the label of its metrics.
    public var name: String
    /// The webhook's address. Its path is as good as a password, so only `host` is ever logged or shown.
    public var url: Secret
    /// `host` or `host:port`.
    public var host: String
    /// Signing keys, the current one first; a second one during rotation. Without any the notices are not signed.
    public var secrets: [Secret]

    public init(name: String, url: String, secrets: [Secret] = []) throws(ReceiverProblem) {
        guard !name.isEmpty else { throw ReceiverProblem(receiver: name, reason: "it has no name") }
        guard let parsed = URL(string: url), let scheme = parsed.scheme?.lowercased(), let host = parsed.host(), !host.isEmpty else {
            throw ReceiverProblem(receiver: name, reason: "its webhook is not an address like https://example.org/hook")
        }
        guard scheme == "https" || scheme == "http" else {
            throw ReceiverProblem(receiver: name, reason: "its webhook has the scheme \(scheme); expected https or http")
        }
        for secret in secrets where SigningKey(secret) == nil {
            throw ReceiverProblem(receiver: name, reason: "its secret is empty, or starts with whsec_ and is not base64 after it")
        }
        self.name = name
        self.url = Secret(url)
        self.host = parsed.port.map { "\(host):\($0)" } ?? host
        self.secrets = secrets
    }
}

/// Why a receiver cannot be used; never contains its address or secret.
public struct ReceiverProblem: Error, Sendable, Hashable, CustomStringConvertible {
    public var receiver: String
    public var reason: String

    public var description: String { "receiver \"\(receiver)\": \(reason)" }
}
