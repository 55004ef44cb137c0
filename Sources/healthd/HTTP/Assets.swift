import CWeb
import NIOCore

/// The files of `web/` as they lie inside the program. The only importer of CWeb.
struct Assets: Sendable {
    let styleSheet: ByteBuffer
    /// Changes with the content, so that a browser may keep what it has for ever.
    let styleSheetPath: String

    static let styleSheetRoute = "/assets/healthd.css"

    init() {
        let css = UnsafeRawBufferPointer(start: healthd_web_css_start(), count: healthd_web_css_size)
        styleSheet = ByteBuffer(bytes: css)
        styleSheetPath = "\(Self.styleSheetRoute)?v=\(String(fnv1a(css), radix: 16))"
    }
}

/// Tells versions of a file apart; no protection against anybody. Source: Fowler, Noll, Vo, FNV-1a 64.
private func fnv1a(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
