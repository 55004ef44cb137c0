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
    return withSocketAddress(ofPort: port, onLoopback: false) { bind(descriptor, $0, $1) == 0 }
}
