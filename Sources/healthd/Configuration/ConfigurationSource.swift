import FoundationEssentials

#if canImport(Glibc)
    import Glibc
#endif

/// Where the configuration comes from. Kept for the life of the process, so that a reload reads the same places again.
struct ConfigurationSource: Sendable {
    static let standardPath = "/etc/healthd/healthd.yaml"

    /// Nil: the standard path, if a file is there.
    var path: String?
    /// The environment as it was at the start.
    var environment: [String: String]
    var mode: Configuration.Mode

    /// Reads and decodes everything.
    ///
    /// - Throws: `ConfigurationProblems`, also when a file that was asked for is not there.
    func load() throws(ConfigurationProblems) -> Configuration {
        try Configuration.decode(
            yaml: yaml(), name: name, environment: environment, mode: mode, files: { readFile($0, limit: 1 << 16) })
    }

    /// See `Configuration.decodeListen`.
    func loadListen() throws(ConfigurationProblems) -> ListenAddress {
        // What the environment says needs no file.
        var text: String?
        if environment["HEALTHD_LISTEN"] == nil { text = try yaml() }
        return try Configuration.decodeListen(yaml: text, name: name, environment: environment)
    }

    private var name: String { path ?? Self.standardPath }

    private func yaml() throws(ConfigurationProblems) -> String? {
        func problem(_ text: String) -> ConfigurationProblems {
            // An absolute path is none of the texts that may hold a secret, whatever characters are in it.
            let shown = name.isEmpty ? "--config is empty" : name.hasPrefix("/") ? name : Quotation.kind(of: name) ?? name
            return ConfigurationProblems([ConfigurationProblem(key: "", origin: .unset, text: "\(shown): \(text)")])
        }
        switch readFile(name, limit: SettingFile.largestText) {
        case .text(let text): return text
        case .missing where path == nil: return nil
        case .missing: throw problem("the configuration file does not exist")
        case .unreadable(let reason): throw problem("the configuration file cannot be read: \(reason)")
        case .notUTF8: throw problem("the configuration file cannot be read: it is not UTF-8 text")
        }
    }
}

/// The environment as it was when the program first asked for it.
///
/// Then libpq's variables are gone from the process: each of them has become a keyword or a complaint, and a second reader with rules of its own would
/// apply them to the private servers of `--embedded`, and read a service's file in the event loop. Those of a time zone and of a form of dates,
/// which libpq sends to each server, would make every connect fail where they are misspelt, and are ours to set.
enum StartEnvironment {
    static let variables: [String: String] = {
        let variables = ProcessInfo.processInfo.environment
        for name in ConnectionKeywords.variables.keys { unsetenv(name) }
        for name in ["PGREQUIRESSL", "PGTZ", "PGDATESTYLE"] { unsetenv(name) }
        return variables
    }()
}

/// The text of a regular file of at most `limit` bytes; a part of a longer one would be read as if it were all.
func readFile(_ path: String, limit: Int) -> FileText {
    // Not blocking: a path that names a pipe must not stop the start.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
        let number = errno
        // What open() says of a socket.
        if number == ENXIO, let other = kindOfOtherFile(path) { return .unreadable(reason: "it is \(other)") }
        return number == ENOENT || number == ENOTDIR ? .missing : .unreadable(reason: String(cString: strerror(number)))
    }
    defer { close(descriptor) }
    if let other = kindOfOtherFile(path) { return .unreadable(reason: "it is \(other)") }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return .unreadable(reason: String(cString: strerror(errno))) }
        if count == 0 { break }
        bytes.append(contentsOf: buffer[..<count])
        guard bytes.count <= limit else { return .unreadable(reason: "it is longer than \(limit) bytes") }
    }
    return String(validating: bytes, as: UTF8.self).map { .text($0) } ?? .notUTF8(bytes)
}

/// What it is if it is no regular file; through symbolic links, which managers of configuration like to place.
private func kindOfOtherFile(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return "no file any more" }
    defer { free(resolved) }
    let attributes = try? FileManager.default.attributesOfItem(atPath: String(cString: resolved))
    switch attributes?[.type] as? FileAttributeType {
    case .typeRegular?: return nil
    case .typeDirectory?: return "a folder"
    default: return "a pipe, a socket or a device, not a file"
    }
}
