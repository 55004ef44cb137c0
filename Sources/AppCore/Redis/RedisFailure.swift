import Vitals

extension RedisEndpoint {
    /// Why there is no connection to this server: what was tried, what came of it, and what a person can do.
    ///
    /// Redis tells errors apart by their first word, which is not translated; what hiredis and the kernel say has no code here.
    func failure(of error: any Error) -> String {
        switch error {
        case let error as NameResolutionError: "\(error)"
        case RedisError.timeout(let waited): "no answer from \(address.text) within \(waited.text); is it overloaded, or a firewall between us?"
        case RedisError.refused(let message): "\(address.text) turns us away: \(message)\(Self.advice(on: message))"
        case RedisError.down(let reason, _), RedisError.connectionLost(let reason): "cannot connect to \(address.text): \(reason)\(Self.advice(on: reason))"
        default: "cannot connect to \(address.text): \(error)"
        }
    }

    /// Why a connection that stood has ended.
    func end(because reason: String?) -> String { "the connection to \(address.text) broke: \(reason ?? "closed")" }

    private static func advice(on words: String) -> String { hints.first { words.contains($0.words) }.map { "; \($0.advice)" } ?? "" }

    private static let hints: [(words: String, advice: String)] = [
        ("NOAUTH", "give it a password (cache.password-file, or in the URL)"),
        ("WRONGPASS", "check the user and the password (cache.password-file, or in the URL)"),
        ("invalid password", "check the password (cache.password-file, or in the URL)"),
        ("without any password", "this server has none: take ours out"),
        ("NOPERM", "its ACL must let the user do this"),
        ("max number of clients", "raise maxclients"),
        ("DB index is out of range", "the server has fewer databases than the URL names"),
        ("Protocol error", "is it a Redis that listens there?"),
        ("No such file", "does Redis run, and is this its unixsocket?"),
        ("Permission denied", "see unixsocketperm: who runs healthd may not open the socket"),
        ("Connection refused", "does Redis run, and does it listen there?"),
        ("closed", "Redis' log may say why; is it a Redis that listens there?"),
        ("reset by peer", "Redis' log may say why; is it a Redis that listens there?"),
    ]
}
