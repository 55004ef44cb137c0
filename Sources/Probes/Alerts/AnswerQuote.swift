import FoundationEssentials
import Vitals

/// What is repeated of a receiver's answer: words of a fixed list, and nothing else.
///
/// An answer may repeat the request, and in it the address, which is a secret: as it is, escaped, in base64, in pieces. A list of encodings is
/// never complete; a list of harmless words is. Whatever else there is becomes `…`, and so does a listed word that stands in the secret itself.
enum AnswerQuote {
    /// Words repeated, at most: enough for what an API says, and for the title of a page.
    static let limit = 12

    /// - Parameter secrets: what of the request nobody may read, as it was sent.
    /// - Returns: empty when there is no word to repeat.
    static func quote(_ text: String, hiding secrets: [String]) -> String {
        let hidden = secrets.map { $0.lowercased() }
        var parts: [String] = []
        var count = 0
        for word in words(of: text) {
            guard count < limit else { break }
            // A word of three letters or fewer gives no secret away.
            let isHarmless = known.contains(word) && (word.utf8.count <= 3 || !hidden.contains { $0.contains(word) })
            if isHarmless {
                parts.append(word)
                count += 1
            } else if parts.last != "…" {
                parts.append("…")
            }
        }
        while parts.last == "…" { parts.removeLast() }
        return count == 0 ? "" : parts.joined(separator: " ")
    }

    /// Runs of ASCII letters in small letters; `notFound` is two.
    private static func words(of text: String) -> [String] {
        var words: [String] = []
        var word = ""
        var before: UInt8 = 0
        func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) && byte < 0x80 }
        func isSmall(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) }
        for byte in text.utf8 {
            let continues = isLetter(byte) && !(isSmall(before) && !isSmall(byte))
            if !continues, !word.isEmpty {
                words.append(word)
                word = ""
            }
            if isLetter(byte) {
                word.unicodeScalars.append(Unicode.Scalar(byte | 0x20))
            } else if byte > 0x20, words.last != "" {
                // Any other byte counts as something left out, except blanks, punctuation and markup.
                if !"{}[]()<>\"':;,._-!?/".utf8.contains(byte) { words.append("") }
            }
            before = byte
        }
        if !word.isEmpty { words.append(word) }
        return words
    }

    private static let known = Set(
        """
        a access action allowed already an and api archived are argument arguments at auth authentication authorization authorized bad bearer \
        blocked body by can cannot channel channels closed conflict connection content could credentials data deactivated delete denied deprecated \
        device did disabled does down entity error errors event exceeded exist exists expected expired fail failed failure false field fields for forbidden \
        format forward found from gateway get gone group has header headers host html http https id in inactive incident input integration internal \
        invalid is it json key large length limit limited limits maintenance malformed message method missing must name no not object of ok on only \
        or page parameter parse parsed parsing path patch payload permission permissions permitted post posting prohibited provided proxy put quota \
        rate read received recognized redirect refused rejected request requests required resource retry route revoked routing scheme scope server \
        service services signature size status syntax team temporarily text the throttled time timed timeout to token too true type unable unauthenticated \
        unauthorized unavailable unexpected unknown unprocessable unsupported upstream url used user valid value version was webhook with wrong you \
        your
        """.split(separator: " ").map(String.init))
}

extension Receiver {
    /// What of a request to it nobody may read: all of its address but the host, what goes with it as `Authorization`, its keys.
    var secretsOfRequest: [String] {
        let address = url.reveal()
        let afterHost = address.firstRange(of: "://").map { address[$0.upperBound...].drop { $0 != "/" && $0 != "?" } } ?? address[...]
        let basic = authorization?.reveal() ?? ""
        let credentials = Data(base64Encoded: String(basic.dropFirst("Basic ".count))).map { String(decoding: $0, as: UTF8.self) } ?? ""
        return [String(afterHost), basic, credentials] + secrets.map { $0.reveal() }
    }
}
