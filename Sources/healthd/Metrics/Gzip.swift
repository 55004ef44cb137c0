import CZlib

/// Bytes to a gzip stream. The only importer of CZlib.
///
/// Source: RFC 1952; zlib.h.
enum Gzip {
    /// Level 3: on 100 kB of metrics 10 % larger than level 6 for a third of its time.
    private static let level: Int32 = 3
    /// 15 is the largest window; 16 more asks for a gzip header instead of zlib's own.
    private static let windowBits: Int32 = 15 + 16
    private static let memoryLevel: Int32 = 8

    /// nil when zlib has no memory: the caller then answers without compression.
    static func compress(_ bytes: [UInt8]) -> [UInt8]? {
        var stream = z_stream()
        let structSize = Int32(MemoryLayout<z_stream>.size)
        guard
            deflateInit2_(&stream, level, Z_DEFLATED, windowBits, memoryLevel, Z_DEFAULT_STRATEGY, ZLIB_VERSION, structSize) == Z_OK
        else { return nil }
        defer { deflateEnd(&stream) }

        let bound = Int(deflateBound(&stream, UInt(bytes.count)))
        var status = Z_STREAM_ERROR
        // zlib never writes to its input; its interface only forgot to say so.
        var input = bytes
        let output = [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            input.withUnsafeMutableBufferPointer { input in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(bound)
                status = deflate(&stream, Z_FINISH)
            }
            count = bound - Int(stream.avail_out)
        }
        return status == Z_STREAM_END ? output : nil
    }
}
