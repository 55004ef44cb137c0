import NIOCore

#if canImport(Glibc)
    import Glibc
#endif

/// The address of `listen` could not be had: which, why, and what to do. Exit status 1, so that a manager tries again.
struct ListenError: Error, Hashable, CustomStringConvertible {
    enum Cause: Sendable, Hashable {
        case unknownName
        /// Of socket(), bind() or listen().
        case errno(CInt)
    }

    var address: ListenAddress
    var cause: Cause

    init(_ address: ListenAddress, _ cause: Cause) {
        self.address = address
        self.cause = cause
    }

    /// Nil for an error that does not come of listening.
    init?(_ address: ListenAddress, _ error: any Error) {
        switch error {
        case let error as IOError: self.init(address, .errno(error.errnoCode))
        case is SocketAddressError, is SocketAddressError.UnknownHost: self.init(address, .unknownName)
        default: return nil
        }
    }

    var description: String { "cannot listen on \(address): \(reason)" }

    private var reason: String {
        switch cause {
        case .unknownName: "the name \(address.host) is not known here; see \"getent hosts \(address.host)\", or set listen to an address"
        case .errno(EADDRINUSE):
            "address already in use; another healthd? see \"ss -ltnp sport = :\(address.port)\", or set listen to another port"
        case .errno(EADDRNOTAVAIL): "this machine has no such address; see \"ip address\", or set listen to one of those, 127.0.0.1 or 0.0.0.0"
        case .errno(EACCES), .errno(EPERM):
            address.port < 1_024 && address.port > 0
                ? "permission denied; a port below 1024 takes CAP_NET_BIND_SERVICE (in the unit: AmbientCapabilities= and CapabilityBoundingSet= with it, and PrivateUsers=no), or set listen to a higher one"
                : "permission denied; see what the sandbox or the unit allows, or set listen to another port"
        case .errno(EAFNOSUPPORT):
            "this machine has no \(address.host.contains(":") ? "IPv6" : "IPv4"), or the unit allows none; set listen to another address"
        case .errno(EINVAL) where address.isLinkLocal:
            "a link-local address is one of each network, and listen names none; set listen to another address, or to [::]:\(address.port)"
        case .errno(EMFILE), .errno(ENFILE): "too many open files; raise the limit of file descriptors (ulimit -n, or LimitNOFILE= in the unit)"
        case .errno(let code): "\(String(cString: strerror(code))) (errno \(code))"
        }
    }
}

extension ListenAddress {
    /// `fe80::/10`, which names a machine only together with the network.
    fileprivate var isLinkLocal: Bool { host.lowercased().wholeMatch(of: /fe[89ab][0-9a-f]:.*/) != nil }
}
