import AppCore
import Vitals

/// The file in which people name whole sets of keywords: `[mydb]`, and below it a `keyword=value` a line.
///
/// Source: PostgreSQL 15 manual, "The Connection Service File", and parseServiceFile of `fe-connect.c`. Read here and not by libpq: it would
/// resolve the host's name in our event loop, and read the file anew for each connection.
struct ServiceFile {
    private let name: String
    private let lines: [(text: Substring, isUTF8: Bool)]

    init(name: String, text: String) {
        self.name = name
        lines = text[...].pieces(between: "\n").map { ($0, true) }
    }

    /// A file that is not UTF-8 as a whole: its comments and other people's sections may be in any encoding.
    init(name: String, bytes: [UInt8]) {
        self.name = name
        lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            String(validating: line, as: UTF8.self).map { ($0[...], true) } ?? (String(decoding: line, as: UTF8.self)[...], false)
        }
    }

    /// The keywords of a service, each with its line; nil when this file does not define it.
    ///
    /// - Throws: what is wrong inside that section.
    func service(_ service: String) throws(ConfigurationProblem) -> [String: (value: String, line: Int)]? {
        var found: [String: (value: String, line: Int)]?
        for (index, raw) in lines.enumerated() {
            func complain(_ text: String) -> ConfigurationProblem {
                ConfigurationProblem(key: "", origin: .file(name, line: index + 1), text: text)
            }
            let line = withoutBlanks(raw.text)
            if index == 0, line.unicodeScalars.first == "\u{FEFF}", line.unicodeScalars.dropFirst().starts(with: "[\(service)]".unicodeScalars) {
                throw complain("begins with a byte order mark, which libpq takes for a piece of the section's name; save the file without it")
            }
            if line.isEmpty || line.unicodeScalars.first == "#" { continue }
            if line.unicodeScalars.first == "[" {
                // libpq reads no further than the first section of that name.
                if found != nil { break }
                if line.hasPrefix("[\(service)]") { found = [:] }
                continue
            }
            guard found != nil else { continue }
            guard raw.isUTF8 else { throw complain("is not UTF-8") }
            guard !line.hasPrefix("ldap") else {
                throw complain("asks an LDAP server for the service, which healthd does not do; name the keywords here")
            }
            guard let (keyword, value) = line.parted(at: "=") else { throw complain("is not keyword=value") }
            guard keyword != "service" else { throw complain("names a service inside a service, which libpq does not read either") }
            guard ConnectionKeywords.isKnown(String(keyword)), keyword != "servicefile" else {
                throw complain("has an unknown keyword\(ConnectionKeywords.hint(for: String(keyword)))")
            }
            // The first of two counts.
            if found?[String(keyword)] == nil { found?[String(keyword)] = (String(value), index + 1) }
        }
        return found
    }
}

/// Where libpq looks for a service, in its order.
struct ServiceFiles {
    var environment: [String: String]
    var read: (String) -> FileText

    /// Of Debian's libpq; `pg_config --sysconfdir` says it.
    static let systemFolder = "/etc/postgresql-common"

    /// - Parameter file: instead of the user's own, and then it must be there.
    func service(
        _ service: String, file: String?, namedBy origin: SettingOrigin, _ key: String
    ) throws(ConfigurationProblem) -> [String: (value: String, origin: SettingOrigin)] {
        func complain(_ text: String) -> ConfigurationProblem { ConfigurationProblem(key: key, origin: origin, text: text) }
        for text in [service, file].compactMap({ $0 }) {
            guard let kind = Quotation.kind(of: text), text == service || kind.contains("which belongs") else { continue }
            throw complain("holds \(kind), where the name of a service\(text == service ? "" : "'s file") is expected")
        }
        let quoted = "names the service \"\(service.oneLine(limit: 60))\""
        let own = file ?? PasswordFile.homeFolder(given: environment["HOME"]).map { "\($0)/.pg_service.conf" }
        let folder = environment["PGSYSCONFDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? Self.systemFolder
        let places = [own, "\(folder)/pg_service.conf"].compactMap { $0 }
        for place in places {
            let found: [String: (value: String, line: Int)]?
            switch read(place) {
            case .missing where place != file: continue
            case .missing: throw complain("\(quoted), whose file \(place.oneLine(limit: 200)) does not exist")
            case .unreadable(let reason): throw complain("\(quoted), whose file \(place.oneLine(limit: 200)) cannot be read: \(reason)")
            case .text(let text): found = try ServiceFile(name: place, text: text).service(service)
            case .notUTF8(let bytes): found = try ServiceFile(name: place, bytes: bytes).service(service)
            }
            if let found { return found.mapValues { ($0.value, .file(place, line: $0.line)) } }
        }
        throw complain("\(quoted), which is not defined in \(places.map { $0.oneLine(limit: 200) }.joined(separator: " nor in "))")
    }
}
