import Vitals

/// Reads secrets from files: systemd credentials first, then the path itself.
///
/// A credential whose name is the file's last component wins over the path. So `secret-file: /etc/healthd/credentials/webhook` works for
/// an operator's shell as well as under a unit with `LoadCredential=webhook:/etc/healthd/credentials/webhook`, where the path is out of reach.
struct SecretFiles {
    var credentialsDirectory: String?
    var read: (String) -> FileText

    /// Longer than any key; shorter than a file named by mistake.
    static let largest = 4_096

    /// Nil when the setting is unset or something is wrong, which is then reported by the file's name; its content never is.
    func read(_ path: String, what: String, _ reader: inout SettingReader) -> Secret? {
        guard let found = reader.text(path, expected: "the path of a file that holds \(what)") else { return nil }
        let name = found.text.split(separator: "/").last.map(String.init) ?? ""
        let isPath = found.text.hasPrefix("/")
        guard !name.isEmpty, !found.text.hasSuffix("/") else {
            // What is no path may be the secret itself, here as below.
            let text = isPath ? "\(Quotation(found.text, limit: 200))" : "no path"
            reader.report(path, found.origin, "is \(text); expected the path of a file, or the name of a credential")
            return nil
        }
        var place = found.text
        var text: FileText = .missing
        if let credentialsDirectory, case let credential = read("\(credentialsDirectory)/\(name)"), credential != .missing {
            (place, text) = ("\(credentialsDirectory)/\(name)", credential)
        } else if isPath {
            text = read(found.text)
        } else {
            let complaint =
                credentialsDirectory.map {
                    "names a credential that is not there in \($0); add LoadCredential=NAME:PATH to the unit, or give the absolute path of a file"
                } ?? "is no absolute path, and there are no credentials here (CREDENTIALS_DIRECTORY is not set)"
            reader.report(path, found.origin, "\(complaint); expected is the file of the secret, not the secret itself")
            return nil
        }
        func complain(_ text: String) { reader.report(path, found.origin, "names \(place.oneLine(limit: 200)), which \(text)") }
        switch text {
        case .missing: complain("does not exist")
        case .unreadable(let reason): complain("cannot be read: \(reason)")
        case .notUTF8: complain("cannot be read: it is not UTF-8 text")
        case .text(let text):
            let secret = Self.line(text)
            if secret.isEmpty {
                complain("is empty; expected \(what)")
            } else if secret.utf8.count > Self.largest {
                complain("is longer than \(Self.largest) bytes")
            } else if secret.unicodeScalars.contains("\0") {
                complain("holds a zero byte; expected text")
            } else if secret.unicodeScalars.contains(where: { $0 == "\n" || $0 == "\r" }) {
                complain("has more than one line; expected the secret alone")
            } else {
                return Secret(secret)
            }
        }
        return nil
    }

    /// Without what editors add and no secret means: a byte order mark in front, one line end behind.
    private static func line(_ text: String) -> String {
        let isMarked = text.unicodeScalars.first == "\u{FEFF}"
        return withoutLineEnd(isMarked ? String(text.unicodeScalars.dropFirst()) : text)
    }
}

/// Without one line end: LF, CRLF or CR. `echo` and many a secret's store add one.
///
/// Scalar by scalar: to Swift a carriage return with its line feed is one character, and equal to neither.
func withoutLineEnd(_ text: String) -> String {
    var scalars = text.unicodeScalars[...]
    if scalars.last == "\n" { scalars.removeLast() }
    if scalars.last == "\r" { scalars.removeLast() }
    return String(scalars)
}
