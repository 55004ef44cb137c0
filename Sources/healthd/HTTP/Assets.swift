import CWeb
import NIOCore
import Vitals

/// The files of `web/` as they lie inside the program. The only importer of CWeb.
struct Assets: Sendable {
    let styleSheet: ByteBuffer
    /// Changes with the content, so that a browser may keep what it has for ever.
    let styleSheetPath: String

    static let styleSheetRoute = "/assets/healthd.css"

    init() {
        let css = UnsafeRawBufferPointer(start: healthd_web_css_start(), count: healthd_web_css_size)
        styleSheet = ByteBuffer(bytes: css)
        styleSheetPath = "\(Self.styleSheetRoute)?v=\(FNV1a(css).text)"
    }
}
