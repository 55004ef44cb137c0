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
        try Configuration.decodeListen(yaml: yaml(), name: name, environment: environment)
    }

    private var name: String { path ?? Self.standardPath }

    private func yaml() throws(ConfigurationProblems) -> String? {
        func problem(_ text: String) -> ConfigurationProblems {
            ConfigurationProblems([ConfigurationProblem(key: "", origin: .unset, text: "\(name): \(text)")])
        }
        switch readFile(name, limit: SettingFile.largestText + 1) {
        case .text(let text): return text
        case .missing where path == nil: return nil
        case .missing: throw problem("the configuration file does not exist")
        case .unreadable(let reason): throw problem("the configuration file cannot be read: \(reason)")
        }
    }
}

/// The text of a regular file, at most `limit` bytes of it.
func readFile(_ path: String, limit: Int) -> FileText {
    // Not blocking: a path that names a pipe must not stop the start.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
        return errno == ENOENT || errno == ENOTDIR ? .missing : .unreadable(reason: String(cString: strerror(errno)))
    }
    defer { close(descriptor) }
    guard isRegularFile(path) else { return .unreadable(reason: "it is not a regular file") }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while bytes.count < limit {
        let count = read(descriptor, &buffer, min(buffer.count, limit - bytes.count))
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return .unreadable(reason: String(cString: strerror(errno))) }
        if count == 0 { break }
        bytes.append(contentsOf: buffer[..<count])
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { return .unreadable(reason: "it is not UTF-8 text") }
    return .text(text)
}

/// Through symbolic links, which managers of configuration like to place.
private func isRegularFile(_ path: String) -> Bool {
    guard let resolved = realpath(path, nil) else { return false }
    defer { free(resolved) }
    let attributes = try? FileManager.default.attributesOfItem(atPath: String(cString: resolved))
    return attributes?[.type] as? FileAttributeType == .typeRegular
}
