#if canImport(Glibc)
    import Glibc
#endif

/// This machine's name, as `hostname` prints it.
func hostName() -> String {
    // 64 bytes and a zero at most on Linux (HOST_NAME_MAX).
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}
