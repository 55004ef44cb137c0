/// What is wrong between us and Redis, known by the words that say so: what we do about it, what metrics and probes call it, and what a
/// person can do. One table for all three.
///
/// Redis tells errors apart by their first word, which no setting translates; up to version 6 a script's error stands inside a sentence.
/// hiredis and the kernel give no code here: of them the sentence counts.
///
/// Source: Redis 7.0, server.c (createSharedObjects, processCommand), script.c, script_lua.c.
struct RedisTrouble: Sendable, Hashable {
    /// What is done when a command is answered with it.
    enum Reaction: Sendable, Hashable {
        /// The link is given up, and the next one must lead to a server that does not call itself a replica.
        case findPrimary
        /// The link is given up: the next one signs in again.
        case connectAgain
        /// The link stays. Commands of this kind are left alone for a while; then one of them is the trial.
        case rest
        /// It is about one key: what is there is not ours, and goes.
        case dropKey
    }

    let reaction: Reaction
    let kind: RedisError.Kind
    /// What a person can do; empty where the words say it.
    let advice: String

    private init(_ reaction: Reaction, _ kind: RedisError.Kind, _ advice: String = "") {
        self.reaction = reaction
        self.kind = kind
        self.advice = advice
    }

    /// The server is there, and the user may not do this.
    static let forbidden = RedisTrouble(.rest, .auth, "its ACL must let the user do this")
    /// The server, or what stands before it, does not know the command.
    static let lacking = RedisTrouble(.rest, .other, "its administrator renamed the command, or a proxy does not know it")

    /// The server is there, and serves reads: what it refuses are writes, and PING with them.
    static let unsaved = RedisTrouble(.rest, .other, "it takes no writes while it cannot save to its disk: its log says why")

    private static let cluster = RedisTrouble(.rest, .other, "it is a node of a Redis Cluster, which is not spoken: name one server")
    private static let password = RedisTrouble(.connectAgain, .auth, "check the user and the password (cache.password-file, or in the URL)")
    private static let silent = RedisTrouble(.rest, .timeout)
    private static let gone = RedisTrouble(.rest, .refused, "Redis' log may say why; is it a Redis that listens there?")

    /// First words of an error reply.
    static let codes: [String: RedisTrouble] = [
        "READONLY": RedisTrouble(.findPrimary, .other, "it is a replica, which takes no writes: does the address lead to the primary?"),
        "MASTERDOWN": RedisTrouble(.findPrimary, .other, "it is a replica that has lost its primary: does the address lead to the primary?"),
        "NOAUTH": RedisTrouble(.connectAgain, .auth, "give it a password (cache.password-file, or in the URL)"),
        "WRONGPASS": password,
        "NOPERM": forbidden,
        "LOADING": RedisTrouble(.rest, .other, "it serves once it has read its data"),
        "BUSY": RedisTrouble(.rest, .other, "a script keeps it from everything else: SCRIPT KILL ends that"),
        "OOM": RedisTrouble(.rest, .full, "raise maxmemory, or let it evict keys (maxmemory-policy)"),
        "MISCONF": unsaved,
        "NOREPLICAS": RedisTrouble(.rest, .other, "it takes no writes while too few replicas follow it (min-replicas-to-write)"),
        "CLUSTERDOWN": cluster, "MOVED": cluster, "ASK": cluster, "CROSSSLOT": cluster, "TRYAGAIN": cluster,
        "WRONGTYPE": RedisTrouble(.dropKey, .other, "another application uses our keys: give each a database of its own"),
    ]

    /// Parts of a sentence, looked for in this order.
    static let phrases: [(words: String, means: RedisTrouble)] = [
        ("user executing the script", forbidden),
        ("ACL failure", forbidden),
        ("unknown command", lacking),
        ("nknown Redis command", lacking),
        ("invalid password", RedisTrouble(.connectAgain, .auth, "check the password (cache.password-file, or in the URL)")),
        ("without any password", RedisTrouble(.connectAgain, .auth, "this server has none: take ours out")),
        ("max number of clients", RedisTrouble(.connectAgain, .full, "raise maxclients")),
        ("DB index is out of range", RedisTrouble(.connectAgain, .other, "the server has fewer databases than the URL names")),
        // Of a connection, where there is nothing to leave; as a reply they come from a proxy, which is no better for being left.
        ("Protocol error", RedisTrouble(.rest, .other, "is it a Redis that listens there?")),
        ("no answer", silent), ("timed out", silent), ("did not answer in time", silent),
        ("No such file", RedisTrouble(.rest, .refused, "does Redis run, and is this its unixsocket?")),
        ("Permission denied", RedisTrouble(.rest, .other, "see unixsocketperm: who runs healthd may not open the socket")),
        ("Connection refused", RedisTrouble(.rest, .refused, "does Redis run, and does it listen there?")),
        ("closed", gone), ("reset by peer", gone),
        ("refused", RedisTrouble(.rest, .refused)), ("unreachable", RedisTrouble(.rest, .refused)),
        ("cannot resolve", RedisTrouble(.rest, .refused)),
    ]

    /// Nil for words that the table does not have; a command that is answered with such rests.
    static func of(_ text: String) -> RedisTrouble? {
        for word in text.split(whereSeparator: { !$0.isLetter }) {
            if let trouble = codes[String(word)] { return trouble }
        }
        return phrases.first { text.contains($0.words) }?.means
    }

    static func reaction(to refusal: String) -> Reaction { of(refusal)?.reaction ?? .rest }

    /// `text`, and behind it what a person can do.
    static func explained(_ text: String) -> String {
        guard let advice = of(text)?.advice, !advice.isEmpty else { return text }
        return "\(text); \(advice)"
    }
}
