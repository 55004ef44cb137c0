extension String {
    /// One line of at most `limit` UTF-8 bytes: control characters become blanks, a cut ends in `…`.
    ///
    /// For text that comes from outside and goes into a status line, a label or a page of a person.
    public func oneLine(limit: Int) -> String {
        precondition(limit >= 3, "room for the ellipsis")
        let clean = String(String.UnicodeScalarView(unicodeScalars.map { Self.breaksLine($0) ? " " : $0 }))
        guard clean.utf8.count > limit else { return clean }
        var kept = ""
        var size = 0
        for character in clean {
            size += character.utf8.count
            guard size <= limit - 3 else { break }
            kept.append(character)
        }
        return kept + "…"
    }

    /// Control characters, those of ISO 6429 beyond ASCII as well, and the separators of lines and paragraphs of Unicode.
    private static func breaksLine(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
    }
}
