#if canImport(Glibc)
    import Glibc
#endif

/// Where PostgreSQL's and Redis' programs are.
struct ServerPrograms: Sendable {
    /// Folders to look in, the best first.
    var postgresFolders: [String]
    var path: [String]

    /// Debian keeps each major version in a folder of its own; elsewhere they are on the PATH.
    static func installed(environment: [String: String]) -> ServerPrograms {
        let path = (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":").map(String.init).filter {
            $0.hasPrefix("/")
        }
        let base = "/usr/lib/postgresql"
        let versions = folderNames(base).compactMap { Int($0) }.sorted(by: >)
        return ServerPrograms(postgresFolders: versions.map { "\(base)/\($0)/bin" } + path, path: path)
    }

    /// The folder with a whole set of server programs, of the version that made the data if there is any.
    func postgres(dataVersion: String?) throws(EmbeddedServerError) -> String {
        let whole = postgresFolders.filter { folder in
            ["initdb", "postgres", "pg_ctl"].allSatisfy { isExecutable("\(folder)/\($0)") }
        }
        guard let best = whole.first else {
            throw EmbeddedServerError(
                "no PostgreSQL server programs in /usr/lib/postgresql/*/bin or on the PATH; install the package postgresql, or name a database (database.url, DATABASE_URL)"
            )
        }
        guard let dataVersion else { return best }
        if let match = whole.first(where: { $0 == "/usr/lib/postgresql/\(dataVersion)/bin" }) { return match }
        // Without the version in the path there is no telling but by trying; the server refuses foreign data itself.
        if let plain = whole.first(where: { !$0.hasPrefix("/usr/lib/postgresql/") }) { return plain }
        throw EmbeddedServerError(
            "the private PostgreSQL's data is of version \(dataVersion), but only \(best) is installed; install postgresql-\(dataVersion), or remove the data to start anew"
        )
    }

    var redis: String? { path.map { "\($0)/redis-server" }.first(where: isExecutable) }

    private func isExecutable(_ file: String) -> Bool { access(file, X_OK) == 0 }

    private static func folderNames(_ folder: String) -> [String] { entries(of: folder) }
}

/// Names in a folder, without the dots; empty when it cannot be read.
func entries(of folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}
