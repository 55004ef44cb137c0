import Vitals

/// How a complaint tells of a text that does not belong where it stands: quoted, or by its kind where it may hold a secret.
///
/// An address that has slipped one level up still holds its password, and more people read a program's complaints than its settings.
struct Quotation: CustomStringConvertible {
    let description: String

    init(_ text: String, limit: Int = 60) {
        description = Self.kind(of: text) ?? "\"\(text.oneLine(limit: limit))\""
    }

    /// What a text that must not be shown seems to be, and where that belongs; nil for one that may be shown.
    static func kind(of text: String) -> String? {
        let start = withoutBlanks(text.lowercased()[...])
        func begins(_ schemes: [String]) -> Bool { schemes.contains { start.hasPrefix($0) } }
        if begins(PostgresURL.schemes) { return "the address of a database, which belongs in database.url or DATABASE_URL" }
        if begins(["redis", "valkey", "unix:"]), start.contains("://") { return "the address of a Redis, which belongs in cache.url or REDIS_URL" }
        if begins(["whsec_"]) { return "a signing secret, which belongs in a file that secret-file names" }
        if start.contains("://") || start.contains("@") { return "an address, not shown here because it may hold a secret" }
        guard let (keyword, _) = start[...].parted(at: "=") else { return nil }
        return ConnectionKeywords.isKnown(String(withoutBlanks(keyword)))
            ? "a connection string, which belongs in database.url or DATABASE_URL" : "a text with = in it, not shown here because it may hold a secret"
    }
}
