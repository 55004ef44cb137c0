import AppCore
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore

/// The shapes of an answer. Data is never cached on the way: a stored health check is a lie with a delay.
extension Response {
    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok, contentType: String = "application/json") throws
        -> Response
    {
        data(try ByteBuffer(bytes: jsonBytes(value)), contentType: contentType, status: status)
    }

    /// A body that is there already. A long one goes out piece by piece, as fast as it is taken: it is not held twice.
    static func json(_ document: JSONDocument, status: HTTPResponse.Status = .ok) -> Response {
        let bytes = document.bytes
        guard bytes.count > pieceSize else { return data(ByteBuffer(bytes: bytes), contentType: "application/json", status: status) }
        let body = ResponseBody(contentLength: bytes.count) { writer in
            for start in stride(from: 0, to: bytes.count, by: pieceSize) {
                try await writer.write(ByteBuffer(bytes: bytes[start..<min(start + pieceSize, bytes.count)]))
            }
            try await writer.finish(nil)
        }
        return whole(body, contentType: "application/json", status: status)
    }

    private static let pieceSize = 65_536

    /// The body as it is sent.
    static func jsonBytes(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try Array(encoder.encode(value))
    }

    static func text(_ text: String, contentType: String = "text/plain; charset=utf-8", status: HTTPResponse.Status = .ok)
        -> Response
    {
        data(ByteBuffer(string: text), contentType: contentType, status: status)
    }

    static func data(_ bytes: ByteBuffer, contentType: String, status: HTTPResponse.Status = .ok) -> Response {
        whole(ResponseBody(byteBuffer: bytes), contentType: contentType, status: status)
    }

    private static func whole(_ body: ResponseBody, contentType: String, status: HTTPResponse.Status) -> Response {
        Response(
            status: status, headers: [.contentType: contentType, .cacheControl: "no-store", .xContentTypeOptions: "nosniff"], body: body)
    }
}

extension HTTPField.Name {
    /// Tells nginx not to collect a stream before passing it on.
    static let xAccelBuffering = HTTPField.Name.constant("X-Accel-Buffering")
    static let lastEventID = HTTPField.Name.constant("Last-Event-ID")
    static let referrerPolicy = HTTPField.Name.constant("Referrer-Policy")
    static let warning = HTTPField.Name.constant("Warning")

    static func constant(_ text: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(text) else { preconditionFailure("\(text) is a token") }
        return name
    }
}
