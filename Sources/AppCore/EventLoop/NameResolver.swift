import Glibc
import Vitals

/// Resolves host names off the loop: libpq and hiredis would block in it.
struct NameResolver: Sendable {
    private let calls: BlockingCalls

    init(calls: BlockingCalls) {
        self.calls = calls
    }

    /// The first address of `host` in numeric form; `host` itself when it is numeric already.
    ///
    /// - Throws: `NameResolutionError` with the resolver's own words, or when it did not answer by the deadline.
    func address(of host: String, until deadline: Deadline) async throws -> String {
        let answer: Result<String, NameResolutionError>
        do {
            answer = try await calls.run(name: "resolve", until: deadline) { Self.lookUp(host) }
        } catch {
            throw NameResolutionError(host: host, reason: "the resolver did not answer in time")
        }
        return try answer.get()
    }

    private static func lookUp(_ host: String) -> Result<String, NameResolutionError> {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0, let first = list else {
            return .failure(NameResolutionError(host: host, reason: String(cString: gai_strerror(code))))
        }
        defer { freeaddrinfo(list) }
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let named = getnameinfo(
            first.pointee.ai_addr, first.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
        guard named == 0 else {
            return .failure(NameResolutionError(host: host, reason: String(cString: gai_strerror(named))))
        }
        return .success(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
}

public struct NameResolutionError: Error, CustomStringConvertible {
    public let host: String
    public let reason: String

    public var description: String { "cannot resolve \"\(host)\": \(reason)" }
}
