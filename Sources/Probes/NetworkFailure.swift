import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// Why an exchange over HTTP came to nothing, for people: the one place where errors of the network libraries become words.
///
/// Never the address that was asked: its path may be a secret. Whoever has it names host and port.
public struct NetworkFailure: Sendable, Hashable {
    /// What it was, for who reacts in different ways.
    public enum Kind: Sendable, Hashable {
        case unknownName, unreachable, timeout, broken, untrusted, noTLS, noHTTP, cancelled, other
    }

    public var kind: Kind
    /// What happened and what a person can do, in small letters, without an end: `connection refused; does it run, and on that port?`
    public var words: String

    init(_ kind: Kind, _ words: String) {
        self.kind = kind
        self.words = words
    }

    public init(_ error: any Error) {
        switch error {
        case let error as HTTPClientError: self.init(error)
        case let error as NIOConnectionError: self.init(error)
        case let error as IOError: self.init(errno: error.errnoCode)
        case let error as ChannelError: self.init(error)
        case let error as NIOSSLError: self.init(error)
        case let error as BoringSSLError: self.init(alert: error)
        case is NIOSSLExtraError:
            self.init(.untrusted, "its certificate is for another name than the one in the address; use the name that the certificate has")
        case is SocketAddressError: self.init(.unknownName, "the name is not known; is it right, and does this host's DNS know it?")
        case is HTTPParserError:
            self.init(.noHTTP, "what answers there does not speak HTTP; is it the right port, and does its address begin with https?")
        case is NIOTooManyBytesError: self.init(.noHTTP, "the answer is longer than any that is expected there; is it the right port?")
        case is CancellationError: self.init(.cancelled, "given up before it was done")
        default: self.init(.other, "the exchange broke off")
        }
    }

    private init(_ error: HTTPClientError) {
        switch error {
        case .connectTimeout, .getConnectionFromPoolTimeout:
            self.init(.timeout, "no connection in time; is it running, or a firewall between us?")
        case .tlsHandshakeTimeout: self.init(.timeout, "no TLS handshake in time; does it speak TLS on that port?")
        case .deadlineExceeded, .readTimeout, .writeTimeout: self.init(.timeout, "no answer in time")
        case .remoteConnectionClosed:
            self.init(.broken, "it closed the connection without an answer; are port and scheme (http, https) right? Its log may say more")
        case .uncleanShutdown: self.init(.broken, "it broke off the connection before the answer was whole")
        case .cancelled, .requestStreamCancelled, .alreadyShutdown: self.init(.cancelled, "given up before it was done")
        case .emptyHost, .invalidURL, .emptyScheme: self.init(.other, "its address is not one of HTTP; expected https://HOST[:PORT][/PATH]")
        default: self.init(.other, "the HTTP client refuses it: \(error.shortDescription)")
        }
    }

    /// None of a name's addresses could be connected to, or it has none.
    private init(_ error: NIOConnectionError) {
        guard let first = error.connectionErrors.first else {
            self.init(.unknownName, "the name \"\(error.host)\" is not known; is it right, and does this host's DNS know it?")
            return
        }
        self.init(first.error)
    }

    private init(errno code: Int32) {
        let reason = String(cString: strerror(code))
        let words = reason.prefix(1).lowercased() + reason.dropFirst()
        switch code {
        case ECONNREFUSED: self.init(.unreachable, "\(words); does it run, and does it listen on that port?")
        case ECONNRESET, EPIPE: self.init(.broken, "\(words) before there was an answer; its log may say why")
        case ETIMEDOUT: self.init(.timeout, "\(words); is it running, or a firewall between us?")
        case EHOSTUNREACH, ENETUNREACH, ENETDOWN, EHOSTDOWN: self.init(.unreachable, "\(words); see the routes and the firewall of this host")
        case EMFILE, ENFILE: self.init(.other, "\(words) in this process; see LimitNOFILE= of its unit")
        default: self.init(.other, words)
        }
    }

    private init(_ error: ChannelError) {
        switch error {
        case .connectTimeout(let limit):
            self.init(.timeout, "no connection within \(Duration.nanoseconds(limit.nanoseconds).text); is it running, or a firewall between us?")
        case .connectPending, .operationUnsupported, .badInterfaceAddressFamily: self.init(.other, "this host's network refuses it")
        default: self.init(.broken, "the connection was closed before there was an answer")
        }
    }

    private init(_ error: NIOSSLError) {
        guard case .handshakeFailed(let reason) = error else {
            self.init(.broken, "the TLS connection was closed before there was an answer; its log may say why")
            return
        }
        // BoringSSL's reasons are names of its own, the same in every language.
        let text = "\(reason)"
        if text.contains("CERTIFICATE_REQUIRED") {
            self.init(.broken, Self.wantsCertificate)
        } else if text.contains("CERTIFICATE_VERIFY_FAILED") {
            self.init(.untrusted, "its certificate is not trusted: no authority that this host knows has signed it, or it has expired")
        } else if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") || text.contains("UNEXPECTED_RECORD") {
            self.init(.noTLS, "it does not speak TLS on that port; does its address begin with http?")
        } else if text.contains("EOF during") {
            self.init(.broken, "it closed the connection during the TLS handshake; does it speak TLS on that port?")
        } else if let name = Self.boringName(in: text) {
            self.init(.noTLS, "the TLS handshake failed: \(name)")
        } else {
            self.init(.broken, "the TLS handshake broke off; does it speak TLS on that port?")
        }
    }

    /// What a server says when the handshake is over for us: with TLS 1.3 only then, that it misses a certificate of ours.
    private init(alert error: BoringSSLError) {
        let text = "\(error)"
        if text.contains("CERTIFICATE_REQUIRED") {
            self.init(.broken, Self.wantsCertificate)
        } else {
            let name = Self.boringName(in: text).map { ": \($0)" } ?? ""
            self.init(.broken, "it broke off the TLS connection before there was an answer\(name); its log may say why")
        }
    }

    private static let wantsCertificate =
        "it wants a certificate of ours, and healthd has none to show; name an address that wants none, or a proxy that shows one"

    /// `error:1000042e:SSL routines:OPENSSL_internal:TLSV1_ALERT_PROTOCOL_VERSION at …`: its last word, made readable.
    private static func boringName(in text: String) -> String? {
        guard let start = text.firstRange(of: ":OPENSSL_internal:")?.upperBound else { return nil }
        let name = text[start...].prefix { $0.isUppercase || $0.isNumber || $0 == "_" }
        return name.isEmpty ? nil : name.lowercased().split(separator: "_").joined(separator: " ")
    }
}
