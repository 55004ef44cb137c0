import HTTPTypes
import Hummingbird
import Probes
import Vitals

/// The page, and the style sheet that lies inside the program.
func addPageRoutes(to routes: inout Routes, assets: Assets, page: @escaping @Sendable () -> PageModel) {
    routes.on(.get, "/", as: "page") { _, _ in
        var response = Response.text(
            Page.render(page(), styleSheet: assets.styleSheetPath), contentType: "text/html; charset=utf-8")
        response.headers[.contentSecurityPolicy] = Page.contentSecurityPolicy
        response.headers[.referrerPolicy] = "no-referrer"
        return response
    }
    routes.on(.get, Assets.styleSheetRoute, as: "assets") { request, _ in
        var response = Response.data(assets.styleSheet, contentType: "text/css; charset=utf-8")
        // Only the address that names the content may be kept for ever.
        let isNamed = request.uri.description == assets.styleSheetPath
        response.headers[.cacheControl] = isNamed ? "public, max-age=31536000, immutable" : "no-cache"
        return response
    }
}
