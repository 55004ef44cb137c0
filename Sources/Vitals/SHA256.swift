// The only file that imports OpenSSL. libpq brings its libcrypto into the process anyway; a second library for two functions, built
// from source, would take minutes of every first build.
import COpenSSL

/// SHA-256, and the HMAC over it. Source: FIPS 180-4; RFC 2104.
public enum SHA256 {
    /// 32 bytes.
    public static func hash(_ bytes: some Collection<UInt8>) -> [UInt8] {
        let bytes = Array(bytes)
        var result = [UInt8](repeating: 0, count: size)
        // It fails only where this OpenSSL may not use the algorithm at all; an answer without meaning would be worse than an end.
        precondition(EVP_Digest(bytes, bytes.count, &result, nil, EVP_sha256(), nil) == 1, "OpenSSL refuses SHA-256")
        return result
    }

    /// 64 digits, in lower case.
    public static func hexadecimal(_ text: String) -> String {
        hash(text.utf8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// 32 bytes.
    ///
    /// - Parameter key: at most 2 GiB.
    public static func authenticationCode(for bytes: some Collection<UInt8>, key: some Collection<UInt8>) -> [UInt8] {
        let (bytes, key) = (Array(bytes), Array(key))
        var result = [UInt8](repeating: 0, count: size)
        let code = HMAC(EVP_sha256(), key, Int32(key.count), bytes, bytes.count, &result, nil)
        precondition(code != nil, "OpenSSL refuses HMAC with SHA-256")
        return result
    }

    private static let size = 32
}
