import CLinux
import Glibc

/// A thread outside Swift's pool, for what blocks: the event loop, name resolution, query cancellation, the log's reader.
public enum DetachedThread {
    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// - Throws: `EventLoopError` when the process may not have another thread.
    public static func start(name: String, _ body: @escaping @Sendable () -> Void) throws {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Start(name: name, body: body))
        let result = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
                // The kernel keeps 15 bytes.
                pthread_setname_np(pthread_self(), String(start.name.prefix(15)))
                start.body()
                return nil
            }, context.toOpaque())
        guard result == 0 else {
            context.release()
            throw EventLoopError(call: "pthread_create", errno: result)
        }
    }
}
