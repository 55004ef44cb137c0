import Vitals

/// Reads libpq's other form, `host=db port=5432 dbname=app password='it''s'`.
///
/// Source: PostgreSQL 15 manual, "Keyword/Value Connection Strings", and conninfo_parse of `fe-connect.c`. Nothing of the text is ever quoted: behind
/// a blank that should have been quoted stands a piece of the password.
struct ConnectionString {
    let keywords: ConnectionKeywords

    /// As libpq tells the two forms apart. What begins like some other URL is a mistake, not a keyword.
    static func isOne(_ text: String) -> Bool {
        text[...].parted(at: "=").map { !$0.before.contains("://") } ?? false
    }

    /// - Throws: a sentence that continues "database.url …".
    init(_ text: String) throws(URLComplaint) {
        var values: [String: String] = [:]
        var rest = text.unicodeScalars[...]
        func skipBlanks() { rest = rest.drop(while: isBlank) }
        while true {
            skipBlanks()
            guard !rest.isEmpty else { break }
            let name = rest.prefix { $0 != "=" && !isBlank($0) }
            rest = rest[name.endIndex...]
            skipBlanks()
            guard rest.popFirst() == "=" else { throw URLComplaint("has a word without =; write a value with blanks as 'value'") }
            let keyword = String(name)
            guard ConnectionKeywords.isKnown(keyword) || keyword == "requiressl" else {
                throw URLComplaint("has an unknown keyword\(ConnectionKeywords.hint(for: keyword))")
            }
            skipBlanks()
            let value = try Self.value(&rest)
            if keyword == "requiressl" { values["sslmode"] = value == "1" ? "require" : "prefer" } else { values[keyword] = value }
        }
        keywords = ConnectionKeywords(values)
        if let complaint = keywords.complaint() { throw URLComplaint(complaint.text) }
    }

    private static func value(_ rest: inout Substring.UnicodeScalarView) throws(URLComplaint) -> String {
        var value = String.UnicodeScalarView()
        let isQuoted = rest.first == "'"
        if isQuoted { rest.removeFirst() }
        while let scalar = rest.first, isQuoted || !isBlank(scalar) {
            rest.removeFirst()
            if scalar == "'", isQuoted { return String(value) }
            if scalar == "\\" {
                if let next = rest.popFirst() { value.append(next) }
            } else {
                value.append(scalar)
            }
        }
        guard !isQuoted else { throw URLComplaint("has a value without its closing '") }
        return String(value)
    }
}

/// What isspace() of C takes for one, and so libpq.
private func isBlank(_ scalar: Unicode.Scalar) -> Bool { scalar == " " || (0x09...0x0D).contains(scalar.value) }

/// Without blanks in front and behind, as libpq reads lines of its files, and numbers.
func withoutBlanks(_ text: Substring) -> Substring {
    let start = text.unicodeScalars.drop(while: isBlank)
    let end = start.lastIndex { !isBlank($0) }.map { start.index(after: $0) } ?? start.startIndex
    return Substring(start[..<end])
}
