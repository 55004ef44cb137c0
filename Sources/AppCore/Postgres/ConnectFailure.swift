/// Why there is no connection, from libpq's report of it: the text for people, and the SQLSTATE where it was a server that refused.
///
/// The report is read by its form alone, so the server may speak any language. With the verbosity "verbose", which a `LibpqConnection` has
/// while it connects, what the server says reads `SEVERITY:  SQLSTATE: message`, and ends with a line about its source code.
///
/// Source: PostgreSQL 15, `pqBuildErrorMessage3` of `fe-protocol3.c`; "LOCATION" is libpq's own word, and as this process sets no locale it
/// is not translated.
struct ConnectFailure: Hashable {
    var text: String
    /// Of several hosts that were tried, what the last one with a SQLSTATE said: libpq goes on after a refused socket, rarely after an answer.
    var sqlState: String?

    init(report: String) {
        var lines: [String] = []
        for line in report.split(whereSeparator: \.isNewline) {
            var line = line.drop { $0.isWhitespace }
            guard !line.isEmpty, !line.hasPrefix("LOCATION:  ") else { continue }
            if let code = Self.code(in: line) {
                sqlState = String(line[code])
                // `FATAL:  53300: too many` becomes `FATAL: too many`.
                line = line[..<code.lowerBound].dropLast() + line[line.index(code.upperBound, offsetBy: 2)...]
            }
            // `DETAIL:  User …`, and libpq's own sentences, which end in full stops.
            if let colon = line.firstRange(of: ":  ") { line = line[...colon.lowerBound] + line[line.index(before: colon.upperBound)...] }
            lines.append(String(line.hasSuffix(".") ? line.dropLast() : line))
        }
        text = lines.isEmpty ? "libpq gave no reason" : lines.joined(separator: "; ")
        if let advice = Self.advice(sqlState, text) { text += "; \(advice)" }
    }

    /// Where a line has its SQLSTATE: after the first colon with two blanks, five capitals or digits, then a colon.
    private static func code(in line: Substring) -> Range<Substring.Index>? {
        guard let colon = line.firstRange(of: ":  "), !["DETAIL", "HINT", "CONTEXT"].contains(line[..<colon.lowerBound]) else { return nil }
        let rest = line[colon.upperBound...]
        let code = rest.prefix { $0.isASCII && ($0.isUppercase || $0.isNumber) }
        guard code.count == 5, rest[code.endIndex...].hasPrefix(": ") else { return nil }
        return code.startIndex..<code.endIndex
    }

    /// What a person can do, where the words do not say it. What a server says is known by its SQLSTATE, what libpq says by its words.
    private static func advice(_ sqlState: String?, _ text: String) -> String? {
        switch sqlState {
        case "28P01": return "check the user and the password"
        case "28000": return "check the user, and what pg_hba.conf on the server lets in"
        case "3D000": return "check the database's name, or create it"
        case "42501": return "grant the role CONNECT on the database"
        case "53300": return "raise the limit that the server names, or let fewer connections be opened"
        case "55000": return "allow it with ALTER DATABASE … ALLOW_CONNECTIONS true"
        case "57P03": return "the server lets nobody in at the moment: wait for it, or look at its log"
        case "57P01", "57P02": return "the server is going down: wait for it, or look at its log"
        case .some: return nil
        case nil: return ownWords.first { text.contains($0.words) }?.advice
        }
    }

    private static let ownWords: [(words: String, advice: String)] = [
        ("no password supplied", "give one in the URL, in a password file or in PGPASSWORD"),
        ("does not support SSL", "turn ssl on at the server, or ask for less with sslmode=prefer"),
        ("certificate verify failed", "the server's certificate has expired, or no authority in sslrootcert has signed it"),
        ("does not match host name", "connect by a name that is in the certificate, or check less with sslmode=verify-ca"),
        ("to SSL negotiation", "is it a PostgreSQL that listens there?"),
        ("expected authentication request", "is it a PostgreSQL that listens there?"),
        ("server closed the connection", "the server's log says why; is it a PostgreSQL that listens there?"),
        ("Connection reset by peer", "the server's log says why; is it a PostgreSQL that listens there?"),
        ("timeout expired", "is a firewall between us, or the server overloaded?"),
    ]
}
