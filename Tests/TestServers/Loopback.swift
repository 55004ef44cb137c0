public import Glibc

/// Lends the address of a port as the socket calls want it: on 127.0.0.1, or on every address of this machine.
public func withSocketAddress<R>(ofPort port: Int, onLoopback: Bool = true, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    if onLoopback { address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian }
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}

/// A socket that listens on 127.0.0.1.
public func listeningSocket(port: Int, backlog: Int32 = 64) throws -> Int32 {
    let descriptor = tcpSocket()
    guard withSocketAddress(ofPort: port, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, backlog) == 0 else {
        defer { close(descriptor) }
        throw TestServerError("cannot listen on port \(port): errno \(errno)")
    }
    return descriptor
}

/// A socket that is connected to a port of 127.0.0.1.
public func connectedSocket(port: Int) throws -> Int32 {
    let descriptor = tcpSocket()
    guard withSocketAddress(ofPort: port, { connect(descriptor, $0, $1) }) == 0 else {
        defer { close(descriptor) }
        throw TestServerError("cannot connect to port \(port): errno \(errno)")
    }
    return descriptor
}

private func tcpSocket() -> Int32 { socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) }
