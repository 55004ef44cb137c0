import Probes
import Vitals

/// The page at `/`: server-rendered, complete without script, styles or a second request for data.
///
/// It is read by somebody who has just been woken. So: the verdict in one sentence, then each resource as now / limit, then
/// who causes it. Every status is a word, a shape and a colour.
enum Page {
    /// The browser asks again this often. A page that stops refreshing still says as of when it is.
    static let refreshSeconds = 5

    /// Nothing but our own style sheet and the icon inside the page: no script, no form, no frame, no other host.
    static let contentSecurityPolicy =
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    static func render(_ model: PageModel, styleSheet: String) -> String {
        let html: HTML = """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <meta http-equiv="refresh" content="\(refreshSeconds)">
            <title>\(model.verdict.word) · \(model.name) · healthd</title>
            <link rel="icon" href="\(PageParts.icon(model.verdict))">
            <link rel="stylesheet" href="\(styleSheet)">
            </head>
            <body>
            <header class="verdict \(model.verdict.rawValue)">
            <p class="mark">\(PageParts.shape(model.verdict))</p>
            <div>
            <h1>\(model.verdict.word)</h1>
            <p class="sentence">\(model.sentence)</p>
            </div>
            <p class="stamp">as of <strong>\(PageParts.time(model.asOf))</strong><br><span>\(model.name)<br>up \(model.uptime.text)</span></p>
            </header>
            <main>
            \(figures(model.figures))
            \(components(model.components))
            <div class="pair">
            \(PageTables.holders(model))
            \(PageTables.waiters(model))
            </div>
            <div class="pair">
            \(PageTables.alerts(model))
            \(PageTables.changes(model.changes))
            </div>
            </main>
            <footer>
            <p>healthd \(model.version), renewed every \(refreshSeconds) s. The numbers above were true at \(PageParts.time(model.asOf)); a page older than that is a page that could not be renewed.</p>
            <nav aria-label="Other views"><a href="/metrics">metrics</a> <a href="/api/health">health</a> <a href="/api/health/pool">pool</a> <a href="/api/health/pool/holders">holders</a> <a href="/api/alerts">alerts</a> <a href="/readyz?verbose">readiness</a></nav>
            </footer>
            </body>
            </html>

            """
        return html.text
    }

    private static func figures(_ figures: [PageModel.Figure]) -> HTML {
        guard !figures.isEmpty else { return .empty }
        return """
            <section aria-label="Now and limit">
            <ul class="figures">
            \(figures.map(figure))</ul>
            </section>
            """
    }

    private static func figure(_ figure: PageModel.Figure) -> HTML {
        """
        <li class="\(figure.state.rawValue)">
        <h2>\(figure.state == .healthy ? .empty : PageParts.shape(figure.state))\(figure.title)</h2>
        <p class="now"><strong>\(figure.now)</strong>\(figure.limit, { " <span>/ \($0)</span>" })</p>
        \(figure.share, PageParts.bar)
        <p class="detail">\(figure.detail ?? "")</p>
        </li>

        """
    }

    private static func components(_ components: [PageModel.Component]) -> HTML {
        let rows: [HTML] = components.map { component in
            """
            <tr class="\(component.state.rawValue)">
            <th scope="row">\(component.name)</th>
            <td>\(PageParts.status(component.state))</td>
            <td>\(PageParts.recent(component.recent))</td>
            <td class="rules">\(rules(component.rules))</td>
            <td class="when">\(PageParts.clock(component.since)) <span>\(component.sinceFor.text)</span></td>
            <td class="reason">\(component.reason)</td>
            </tr>

            """
        }
        return """
            <section>
            <h2>Components</h2>
            \(PageTables.table(
                ["component", "state", "last looks", "value and limits", "since, UTC", "reason"], rows,
                empty: "Nothing is watched yet: the first look has not ended."))
            </section>
            """
    }

    private static func rules(_ rules: [PageModel.Rule]) -> HTML {
        guard !rules.isEmpty else { return "<span class=\"none\">no value</span>" }
        return HTML(
            rules.map { rule in
                """
                <p class="\(rule.state.rawValue)"><b>\(rule.value)</b> \(rule.name) <span>\(rule.thresholds)</span></p>
                """
            })
    }
}
