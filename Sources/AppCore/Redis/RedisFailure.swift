import Vitals

extension RedisEndpoint {
    /// Why there is no connection to this server: what was tried, what came of it, and what a person can do.
    func failure(of error: any Error) -> String {
        switch error {
        case let error as NameResolutionError: "\(error)"
        case RedisError.timeout(let waited): "no answer from \(address.text) within \(waited.text); is it overloaded, or a firewall between us?"
        case RedisError.refused(let message): "\(address.text) turns us away: \(RedisTrouble.explained(message))"
        case RedisError.down(let reason, _), RedisError.connectionLost(let reason): "cannot connect to \(address.text): \(RedisTrouble.explained(reason))"
        default: "cannot connect to \(address.text): \(error)"
        }
    }

    /// Why a connection that stood has ended.
    func end(because reason: String?) -> String { "the connection to \(address.text) broke: \(reason ?? "closed")" }
}
