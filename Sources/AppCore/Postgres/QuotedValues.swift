/// Messages of the server that quote what it could not use: `invalid input syntax for type integer: "12a"`. Such a message goes into logs and to
/// clients; the value need not.
enum QuotedValues {
    /// The message with `?` for what stands between its first quote and its last.
    static func left(outOf message: String, sqlState: String, position: String?) -> String {
        guard quotesValues(sqlState), let first = message.firstIndex(where: marks.contains), let last = message.lastIndex(where: marks.contains) else {
            return message
        }
        let end = first == last ? "" : message[message.index(after: last)...]
        // Of a text that is wrong, where.
        let place = position.map { " (at character \($0))" } ?? ""
        return message[..<first] + "?" + end + place
    }

    /// Data that are wrong, text that is no SQL, and names of files. Other classes quote names of tables, columns and the like.
    ///
    /// Source: PostgreSQL 15, appendix A.
    private static func quotesValues(_ sqlState: String) -> Bool {
        sqlState.hasPrefix("22") || sqlState == "42601" || sqlState == "58P01"
    }

    /// The quotation marks of all languages that the server speaks.
    static let marks: Set<Character> = ["\"", "«", "»", "„", "“", "”", "‹", "›", "「", "」", "『", "』"]
}
