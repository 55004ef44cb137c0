import Vitals

/// Reads settings by path, the environment over the file, and collects every problem instead of stopping at the first.
///
/// Each path that is asked for becomes known; `finish()` then reports what stands in the file or environment and was never asked for.
struct SettingReader {
    struct Found {
        var text: String
        var origin: SettingOrigin
    }

    private let file: SettingFile?
    private let environment: [String: String]
    private(set) var problems: [ConfigurationProblem] = []
    private var known: Set<String> = []
    private var knownLists: Set<String> = []
    private var dismissed: Set<String> = []

    init(file: SettingFile?, environment: [String: String]) {
        self.file = file
        self.environment = environment
    }

    /// `database.pool.max` is `HEALTHD_DATABASE_POOL_MAX`.
    static func environmentName(_ path: String) -> String {
        "HEALTHD_" + path.uppercased().replacing(".", with: "_").replacing("-", with: "_")
    }

    mutating func report(_ key: String, _ origin: SettingOrigin, _ text: String) {
        problems.append(ConfigurationProblem(key: key, origin: origin, text: text))
    }

    /// Where the value in force at `path` comes from.
    func origin(of path: String) -> SettingOrigin {
        let name = Self.environmentName(path)
        if !path.contains("["), environment[name] != nil { return .environment(name) }
        guard let file, let entry = file[path] else { return .unset }
        return .file(file.name, line: entry.line)
    }

    /// Whether a password's file is named for the address in force.
    ///
    /// The environment wins over the file address by address, not piece by piece: what healthd's file names beside an address of its own is that one's
    /// password, and is neither read nor sent for another server. Without an address beside it, it is meant for the environment's, unless that one
    /// brings a password.
    mutating func hasPasswordFile(_ section: String, for address: Found?, whichBringsOne: Bool) -> Bool {
        let path = "\(section).password-file"
        known.insert(path)
        guard case .file = origin(of: path) else { return origin(of: path) != .unset }
        if case .file? = address?.origin { return true }
        if case .scalar(_?)? = file?["\(section).url"]?.content { return false }
        return !whichBringsOne
    }

    /// The text at `path`, or nil when nobody set it. What has the wrong shape or no value is reported and nil.
    mutating func text(_ path: String, expected: String) -> Found? {
        known.insert(path)
        switch origin(of: path) {
        case .unset: return nil
        case .environment(let name):
            let text = environment[name] ?? ""
            guard !text.isEmpty else {
                report(path, .environment(name), "is empty; expected \(expected)")
                return nil
            }
            return Found(text: text, origin: .environment(name))
        case .file(let fileName, let line):
            let origin = SettingOrigin.file(fileName, line: line)
            switch file?[path]?.content {
            case .scalar(let text?)? where !text.isEmpty: return Found(text: text, origin: origin)
            case .scalar?, nil: report(path, origin, "has no value; expected \(expected)")
            case .group?: report(path, origin, "is a group of settings; expected \(expected)")
            case .list?: report(path, origin, "is a list; expected \(expected)")
            }
            return nil
        }
    }

    /// The value at `path`, or nil when it is unset or wrong (then reported, with the text unless it may hold a secret).
    mutating func value<Value>(_ path: String, expected: String, secret: Bool = false, _ parse: (String) -> Value?) -> Value? {
        guard let found = text(path, expected: expected) else { return nil }
        if let value = parse(found.text) { return value }
        report(
            path, found.origin,
            secret ? "is not understood; expected \(expected)" : "is \(quoted(found.text)); expected \(expected)")
        return nil
    }

    /// How many elements the list at `path` has; 0 when unset. Lists live in the file only.
    mutating func count(_ path: String, expected: String) -> Int {
        knownLists.insert(path)
        guard let file, let entry = file[path] else { return 0 }
        switch entry.content {
        case .list(let count): return count
        case .scalar(nil): return 0
        case .scalar(let text?): report(path, .file(file.name, line: entry.line), "is \(quoted(text)); expected \(expected)")
        case .group: report(path, .file(file.name, line: entry.line), "is a group of settings; expected \(expected)")
        }
        return 0
    }

    /// True when the list element at `path` is a group; anything else is reported.
    mutating func isGroup(_ path: String, expected: String) -> Bool {
        guard let file, let entry = file[path] else { return false }
        if entry.content == .group { return true }
        known.insert(path)
        report(path, .file(file.name, line: entry.line), "is not a group of settings; expected \(expected)")
        return false
    }

    /// What stands below `path` has been spoken of as a whole.
    mutating func dismiss(_ path: String) {
        dismissed.insert(path)
    }

    /// Reports every entry of the file and every `HEALTHD_` variable nobody asked for.
    ///
    /// Those that Kubernetes and Docker set beside a service called healthd are none of ours.
    /// - Parameter foreign: variables of that prefix which belong to scripts, not to the program.
    mutating func finish(foreign: Set<String>) {
        reportUnknownEntries()
        let names = Dictionary(known.filter { !$0.contains("[") }.map { (Self.environmentName($0), $0) }) { first, _ in first }
        let lists = Set(knownLists.map(Self.environmentName))
        for name in environment.keys.sorted() where name.hasPrefix("HEALTHD_") && names[name] == nil && !foreign.contains(name) {
            if isServiceVariable(name, environment[name] ?? "") { continue }
            if lists.contains(name) {
                report(name, .environment(name), "is a list; lists are set in the file only")
            } else {
                let hint = nearestName(to: name, among: names.keys).map { "; did you mean \($0)?" } ?? ""
                report(name, .environment(name), "is not a setting\(hint)")
            }
        }
    }

    private mutating func reportUnknownEntries() {
        guard let file else { return }
        let leaves = known.union(knownLists)
        var groups: Set<String> = []
        for path in leaves { groups.formUnion(ancestors(of: path)) }
        var unknown = Array(dismissed)
        for entry in file.entries {
            // A stranger's members are not reported one by one.
            if unknown.contains(where: { entry.path.hasPrefix($0 + ".") || entry.path.hasPrefix($0 + "[") }) { continue }
            if leaves.contains(entry.path) { continue }
            let origin = SettingOrigin.file(file.name, line: entry.line)
            if groups.contains(entry.path) {
                switch entry.content {
                case .group, .scalar(nil): break
                case .list: report(entry.path, origin, "is a list; expected a group of settings")
                case .scalar(let text?): report(entry.path, origin, "is \(quoted(text)); expected a group of settings")
                }
                if entry.content != .group { unknown.append(entry.path) }
                continue
            }
            if entry.path.hasSuffix("]") { continue }  // an element of a list whose reader has spoken
            unknown.append(entry.path)
            let siblings = leaves.union(groups).filter { parent(of: $0) == parent(of: entry.path) }
            let near =
                nearestName(to: entry.path, among: siblings) ?? nearestName(to: lastKey(entry.path), among: leaves.map(lastKey))
            let full = near.map { name in
                leaves.union(groups).contains(name) ? name : (leaves.first { lastKey($0) == name } ?? name)
            }
            report(entry.path, origin, "is not a setting\(full.map { "; did you mean \($0)?" } ?? "")")
        }
    }

    private func ancestors(of path: String) -> [String] {
        var result: [String] = []
        var rest = Substring(path)
        while let dot = rest.lastIndex(of: ".") {
            rest = rest[..<dot]
            result.append(String(rest))
        }
        return result
    }

    private func parent(of path: String) -> Substring { path.lastIndex(of: ".").map { path[..<$0] } ?? "" }

    private func lastKey(_ path: String) -> String {
        String(path.lastIndex(of: ".").map { path[path.index(after: $0)...] } ?? path[...])
    }

    private func quoted(_ text: String) -> Quotation { Quotation(text) }
}

// MARK: - Values with a unit and a range

extension SettingReader {
    mutating func integer(_ path: String, in range: ClosedRange<Int>, default standard: Int) -> Int {
        value(path, expected: "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
            Int(text).flatMap { range.contains($0) && !text.hasPrefix("+") ? $0 : nil }
        } ?? standard
    }

    mutating func flag(_ path: String, default standard: Bool) -> Bool {
        value(path, expected: "on or off") { ["on": true, "off": false, "true": true, "false": false][$0] } ?? standard
    }

    mutating func duration(_ path: String, in range: ClosedRange<Duration>, default standard: Duration) -> Duration {
        value(
            path, expected: "a time from \(range.lowerBound.settingText) to \(range.upperBound.settingText), such as 30s or 250ms"
        ) { text in
            Duration(setting: text).flatMap { range.contains($0) ? $0 : nil }
        } ?? standard
    }

    mutating func byteCount(_ path: String, in range: ClosedRange<ByteCount>, default standard: ByteCount) -> ByteCount {
        value(path, expected: "a size from \(range.lowerBound) to \(range.upperBound), such as 32MiB") { text in
            ByteCount(setting: text).flatMap { range.contains($0) ? $0 : nil }
        } ?? standard
    }
}
