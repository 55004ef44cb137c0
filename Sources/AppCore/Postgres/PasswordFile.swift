import Glibc
import Vitals

/// The file in which libpq looks for passwords: `passfile`, else `~/.pgpass`.
///
/// Looked at by us before libpq does. Of a file that it refuses to read it tells standard error itself, at each attempt to connect, and there
/// it waits for whoever reads our log.
///
/// Source: PostgreSQL 15, passwordFromFile and connectOptions2 of `fe-connect.c`; manual, "The Password File".
public struct PasswordFile: Sendable, Hashable {
    public let path: String
    /// Whether the configuration names it: then it is missed where it is not.
    private let isNamed: Bool

    /// Nil where libpq looks for none: with a password given, or for a user without a home.
    public init?(of endpoint: PostgresEndpoint) {
        let given = endpoint.password?.reveal() ?? endpoint.keywords["password"] ?? ""
        guard given.isEmpty else { return nil }
        let named = endpoint.keywords["passfile"] ?? ""
        isNamed = !named.isEmpty
        guard let path = isNamed ? named : Self.home.map({ "\($0)/.pgpass" }) else { return nil }
        self.path = path
    }

    /// For `passfile`: what libpq may read, or what it passes over without a word, since below a device there is never a file.
    var keyword: String { refusal == nil ? path : "/dev/null/none" }

    /// Why libpq refuses to read it, and what to do; nil when it does not, also for a file that is not there.
    public var refusal: String? {
        var attributes = stat()
        guard stat(path, &attributes) == 0 else { return nil }
        switch attributes.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: return "it is a folder; name the file in it"
        default: return "it is a pipe, a socket or a device; name a file"
        }
        return attributes.st_mode & 0o077 == 0 ? nil : "others than its owner may open it; chmod 600 it"
    }

    /// What to say where a server wanted a password and libpq found none here.
    var whyNoPassword: String? {
        if let refusal { return "the password file \(path) is not read: \(refusal)" }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let isMissing = errno == ENOENT || errno == ENOTDIR
            return isMissing && !isNamed ? nil : "the password file \(path) \(isMissing ? "does not exist" : "cannot be read: \(String(cString: strerror(errno)))")"
        }
        defer { close(descriptor) }
        var start = [UInt8](repeating: 0, count: 3)
        if read(descriptor, &start, 3) == 3, start == [0xEF, 0xBB, 0xBF] {
            return "the password file \(path) begins with a byte order mark, which libpq takes for a piece of the first host; save it without"
        }
        return "the password file \(path) has no line for this host, port, database and user"
    }

    private static let home = homeFolder(given: getenv("HOME").map { String(cString: $0) })

    /// `HOME`, else what the system's list of users says, as for libpq.
    ///
    /// Source: PostgreSQL 15, pqGetHomeDirectory of `fe-connect.c`.
    public static func homeFolder(given: String?) -> String? {
        if let given, !given.isEmpty { return given }
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16_384)
        guard getpwuid_r(geteuid(), &entry, &buffer, buffer.count, &found) == 0, let found, let home = found.pointee.pw_dir else { return nil }
        return String(cString: home)
    }
}
