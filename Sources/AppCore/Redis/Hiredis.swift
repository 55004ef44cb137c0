// The only file that imports hiredis: what its pointers are and who frees them is said here and nowhere else.
import CHiredis
import Glibc

/// Owner of one `redisContext`, non-blocking, driven through its buffers; its own async layer has no timeouts.
///
/// Unchecked: hiredis allows one thread at a time in a context; every use is under the lock of the `RedisLink` that owns it.
final class HiredisContext: @unchecked Sendable {
    enum Received {
        case reply(Result<RedisReply, RedisError>)
        /// Nothing complete in the buffer.
        case nothing
        case failed
    }

    private let context: UnsafeMutablePointer<redisContext>

    /// hiredis writes without MSG_NOSIGNAL: a Redis that goes away would end this process.
    private static let brokenPipesAreErrors: Void = { _ = signal(SIGPIPE, SIG_IGN) }()

    /// Begins to connect. `host` must be numeric: hiredis would block in name resolution.
    ///
    /// Nil only when memory is exhausted; other failures show in `failure`.
    init?(connectingTo address: RedisEndpoint.Address) {
        let context =
            switch address {
            case .tcp(let host, let port): redisConnectNonBlock(host, Int32(port))
            case .unix(let path): redisConnectUnixNonBlock(path)
            }
        guard let context else { return nil }
        self.context = context
        _ = Self.brokenPipesAreErrors
    }

    deinit {
        redisFree(context)
    }

    var socket: Int32 { context.pointee.fd }

    /// Why the context is of no further use; nil while it is. The error is sticky in hiredis, too.
    var failure: String? {
        guard context.pointee.err != 0 else { return nil }
        return withUnsafeBytes(of: context.pointee.errstr) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// How a connect in progress ended, once the socket is writable: nil when it stands.
    func connectFailure() -> String? {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &length) == 0, code == 0 else { return String(cString: strerror(code)) }
        return nil
    }

    /// Puts a command into the output buffer. False when memory is exhausted.
    func append(_ arguments: [RedisArgument]) -> Bool {
        let block = arguments.flatMap(\.bytes).map { CChar(bitPattern: $0) } + [0]
        var lengths = arguments.map { $0.bytes.count }
        return block.withUnsafeBufferPointer { block in
            var offset = 0
            var pointers: [UnsafePointer<CChar>?] = lengths.map { length in
                defer { offset += length }
                return block.baseAddress.map { $0 + offset }
            }
            return redisAppendCommandArgv(context, Int32(arguments.count), &pointers, &lengths) == REDIS_OK
        }
    }

    enum Written { case all, some, failed }

    func write() -> Written {
        var done: Int32 = 0
        guard redisBufferWrite(context, &done) == REDIS_OK else { return .failed }
        return done == 1 ? .all : .some
    }

    /// False when the peer is gone.
    func read() -> Bool { redisBufferRead(context) == REDIS_OK }

    func next() -> Received {
        var reply: UnsafeMutableRawPointer?
        guard redisGetReplyFromReader(context, &reply) == REDIS_OK else { return .failed }
        guard let reply else { return .nothing }
        defer { freeReplyObject(reply) }
        return .reply(Self.value(reply.assumingMemoryBound(to: redisReply.self).pointee))
    }

    private static func value(_ reply: redisReply) -> Result<RedisReply, RedisError> {
        switch reply.type {
        case REDIS_REPLY_STRING: return .success(.string(bytes(reply)))
        case REDIS_REPLY_STATUS: return .success(.status(String(decoding: bytes(reply), as: UTF8.self)))
        case REDIS_REPLY_INTEGER: return .success(.integer(reply.integer))
        case REDIS_REPLY_NIL: return .success(.null)
        case REDIS_REPLY_ARRAY:
            var elements: [RedisReply] = []
            for index in 0..<reply.elements {
                guard let element = reply.element?[index] else { continue }
                // An error inside an array stands for its element alone; none of our commands has one.
                elements.append((try? value(element.pointee).get()) ?? .null)
            }
            return .success(.array(elements))
        default: return .failure(.refused(String(decoding: bytes(reply), as: UTF8.self)))
        }
    }

    private static func bytes(_ reply: redisReply) -> [UInt8] {
        guard let text = reply.str else { return [] }
        return text.withMemoryRebound(to: UInt8.self, capacity: reply.len) { Array(UnsafeBufferPointer(start: $0, count: reply.len)) }
    }
}
