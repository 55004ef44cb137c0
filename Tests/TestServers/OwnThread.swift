import Glibc

private final class Work: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) {
        self.run = run
    }
}

/// Runs blocking work on a thread made for it: two cores' worth of blocked tests would leave no thread for the code under test.
public func onOwnThread<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
    await withCheckedContinuation { continuation in
        startThread { continuation.resume(returning: body()) }
    }
}

/// Starts a thread that ends with `body`.
func startThread(_ body: @escaping @Sendable () -> Void) {
    let work = Work(body)
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let started = pthread_create(
        &thread, &attributes,
        { argument in
            if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().run() }
            return nil
        }, Unmanaged.passRetained(work).toOpaque())
    precondition(started == 0, "no thread for a test server")
}

/// Two connected ends, reading first, closed on exec from the moment they exist: a program started meanwhile must not keep one open.
public func makePipe(_ ends: inout [Int32]) -> Bool {
    // pipe2 is not imported; a socket pair takes the flag.
    socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0
}
