import Glibc
import Vitals

/// Resolves host names off the loop: libpq and hiredis would block in it.
struct NameResolver: Sendable {
    private let calls: BlockingCalls

    init(calls: BlockingCalls) {
        self.calls = calls
    }

    /// More addresses of one name are not looked at.
    private static let limit = 8

    /// The first address of `host` in numeric form; `host` itself when it is numeric already.
    ///
    /// - Throws: `NameResolutionError` with the resolver's own words, or when it did not answer by the deadline.
    func address(of host: String, until deadline: Deadline) async throws -> String {
        guard let first = try await addresses(of: host, until: deadline).first else {
            throw NameResolutionError(host: host, reason: "no address")
        }
        return first
    }

    /// All addresses of `host` in numeric form, in the order in which they are to be tried; at most 8.
    ///
    /// - Throws: as `address(of:until:)`.
    func addresses(of host: String, until deadline: Deadline) async throws -> [String] {
        let answer: Result<[String], NameResolutionError>
        do {
            answer = try await calls.run(name: "resolve", until: deadline) { Self.lookUp(host, flags: AI_ADDRCONFIG) }
        } catch BlockingCalls.Failure.tooMany(let limit) {
            throw NameResolutionError(host: host, reason: "\(limit) calls to the resolver and the like already wait for an answer")
        } catch {
            throw NameResolutionError(host: host, reason: "the resolver did not answer in time")
        }
        return try answer.get()
    }

    /// Whether `host` is an address already. Asks nobody, so it does not block.
    static func isNumeric(_ host: String) -> Bool {
        if case .success = lookUp(host, flags: AI_NUMERICHOST) { true } else { false }
    }

    private static func lookUp(_ host: String, flags: Int32) -> Result<[String], NameResolutionError> {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0, let list else {
            return .failure(NameResolutionError(host: host, reason: String(cString: gai_strerror(code))))
        }
        defer { freeaddrinfo(list) }
        var addresses: [String] = []
        for entry in sequence(first: list, next: { $0.pointee.ai_next }).prefix(limit) {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let named = getnameinfo(
                entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
            guard named == 0 else {
                return .failure(NameResolutionError(host: host, reason: String(cString: gai_strerror(named))))
            }
            let address = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if !addresses.contains(address) { addresses.append(address) }
        }
        return .success(addresses)
    }
}

public struct NameResolutionError: Error, CustomStringConvertible {
    public let host: String
    public let reason: String

    public var description: String { "cannot resolve \"\(host)\": \(reason); is the name right, and does this host's DNS know it?" }
}
