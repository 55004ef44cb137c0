import Glibc
import Vitals

/// Resolves host names off the loop: libpq and hiredis would block in it.
struct NameResolver: Sendable {
    private let calls: BlockingCalls

    init(calls: BlockingCalls) {
        self.calls = calls
    }

    /// More addresses of one name are not looked at.
    static let limit = 8

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
            answer = try await calls.run(name: "resolve", until: deadline) { Self.lookUp(host) }
        } catch {
            throw NameResolutionError(host: host, reason: Self.reason(of: error))
        }
        return try answer.get()
    }

    /// Why the resolver could not be asked, or not for long enough.
    static func reason(of error: any Error) -> String {
        switch error {
        case BlockingCalls.Failure.tooMany(let limit): "\(limit) calls to the resolver and the like already wait for an answer"
        case BlockingCalls.Failure.deadlineExceeded: "the resolver did not answer in time"
        case let error as EventLoopError:
            "there is no thread for the resolver: \(String(cString: strerror(error.errno))); see the limits of threads and memory (ulimit -u, TasksMax=)"
        default: "the resolver could not be asked: \(error)"
        }
    }

    /// Whether `host` is an address already. Asks nobody, so it does not block.
    static func isNumeric(_ host: String) -> Bool {
        if case .addresses = ask(host, flags: AI_NUMERICHOST) { true } else { false }
    }

    /// What getaddrinfo() answers.
    enum Answer: Sendable, Hashable {
        case addresses([String])
        case failed(code: Int32)
    }

    /// First the addresses of those families that this machine has besides the loopback: a network without IPv6 often has a DNS that answers
    /// nothing, and slowly, when it is asked for it. Then any, as libpq does: a neighbour on `::1` is there although the machine has nothing but IPv4.
    static func lookUp(_ host: String, ask: (String, Int32) -> Answer = NameResolver.ask(_:flags:)) -> Result<[String], NameResolutionError> {
        var answer = ask(host, AI_ADDRCONFIG)
        if case .failed(let code) = answer, code != EAI_AGAIN { answer = ask(host, 0) }
        switch answer {
        case .addresses(let addresses): return .success(addresses)
        case .failed(let code): return .failure(NameResolutionError(host: host, reason: String(cString: gai_strerror(code))))
        }
    }

    static func ask(_ host: String, flags: Int32) -> Answer {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0, let list else { return .failed(code: code) }
        defer { freeaddrinfo(list) }
        var addresses: [String] = []
        for entry in sequence(first: list, next: { $0.pointee.ai_next }).prefix(limit) {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let named = getnameinfo(
                entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
            guard named == 0 else { return .failed(code: named) }
            let address = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if !addresses.contains(address) { addresses.append(address) }
        }
        return .addresses(addresses)
    }
}

public struct NameResolutionError: Error, CustomStringConvertible {
    public let host: String
    public let reason: String

    public var description: String { "cannot resolve \"\(host)\": \(reason); is the name right, and does this host's DNS know it?" }
}
