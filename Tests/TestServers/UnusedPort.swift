import Glibc
import Synchronization

/// Ports below those the kernel gives to outgoing connections, wherever `net.ipv4.ip_local_port_range` was left as it comes (32768 on):
/// between being handed out and being listened on, and while what listens is down, no client anywhere on the host can come to sit on it.
private let candidates = 20_000..<32_000
private let handedOut = Mutex<Set<Int>>([])

/// A TCP port nobody listens on, on any address, and none that was handed out before in this process.
public func unusedPort() throws -> Int {
    for _ in 1...1_000 {
        let port = Int.random(in: candidates)
        if isUnused(port), handedOut.withLock({ $0.insert(port).inserted }) { return port }
    }
    throw TestServerError("no free port in \(candidates)")
}

private func isUnused(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) == 0 }
    }
}
