extension String {
    /// One line of at most `limit` UTF-8 bytes: control characters become blanks, a cut ends in `…`.
    ///
    /// For text that comes from outside and goes into a status line, a label or a page of a person.
    public func oneLine(limit: Int) -> String {
        precondition(limit >= 3, "room for the ellipsis")
        let clean = String(String.UnicodeScalarView(unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }))
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
}
