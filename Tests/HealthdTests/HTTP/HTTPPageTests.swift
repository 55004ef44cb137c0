@testable import AppCore
@testable import Probes
import NIOCore
import Testing
import Vitals

@testable import healthd

@Suite struct `The page` {
    @Test func `says the verdict, who holds, who waits, and what was told to whom`() {
        let page = Page.render(HTTPSamples.page(), styleSheet: "/assets/healthd.css?v=1")
        for part in [
            "<h1>Critical</h1>", "Since 08:00 UTC: pool saturation 150 %, critical from 95 % (2 of 2 leased, 1 waiting)", "app-1",
            "demo.hold", "SELECT pg_sleep($1)", "POST /api/demo/hold", "in a transaction", "backend 4711", "400 ms", "in 1.6 s",
            "pool-saturation", "held by demo.hold for 2 s: SELECT pg_sleep($1)", "oncall has not been told of it; 1 not delivered yet",
            "fails for 4 s: connection refused", "degraded from 80 %, critical from 95 %, ends below 70 %",
            "1 of the last 3 looks failed",
            "href=\"/assets/healthd.css?v=1\"",
            "as of <strong><span class=\"utc\"><time datetime=\"2027-01-15T08:00:00.000Z\">08:00:00</time> UTC</span></strong>",
        ] {
            #expect(page.contains(part), "\(part)")
        }
        #expect(!page.contains("<script"))
        #expect(!page.contains("style=\""))
    }

    static let hostile = [
        "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'; DROP TABLE users; --", "</td></table><h1>Healthy</h1>",
        "a & b", "\u{0}\u{1B}[31m", "\u{202E}evil", "<!--", "&lt;",
    ]

    @Test(arguments: hostile)
    func `shows hostile names as text`(name: String) {
        let page = Page.render(
            HTTPSamples.page(
                holders: HTTPSamples.holders(purpose: name, statement: name), alerts: HTTPSamples.alerts(reason: name)),
            styleSheet: "/assets/healthd.css")
        #expect(!page.contains("<script>"))
        #expect(!page.contains("<img"))
        #expect(!page.contains("<h1>Healthy"))
        #expect(!page.contains("<!--"))
        #expect(!page.unicodeScalars.contains("\u{202E}"))
        #expect(!page.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
    }

    @Test(arguments: [
        ("plain", "plain"), ("<b>", "&lt;b&gt;"), ("\"'", "&quot;&#39;"), ("&amp;", "&amp;amp;"), ("a\nb\tc", "a b c"),
        ("\u{7}", "\u{FFFD}"), ("\u{2066}x", "\u{FFFD}x"), ("é🦊", "é🦊"), ("", ""),
    ])
    func `text is escaped once`(text: String, expected: String) {
        #expect(("<p>\(text)</p>" as HTML).text == "<p>\(expected)</p>")
    }

    @Test func `markup inside markup is left alone`() {
        let inner: HTML = "<b>\("<")</b>"
        #expect(("<p>\(inner)\([inner, inner])</p>" as HTML).text == "<p><b>&lt;</b><b>&lt;</b><b>&lt;</b></p>")
    }

    @Test func `A2: nobody is shown as told who has not accepted it, whatever else was accepted since`() {
        func page(told: [String]) -> String {
            var alerts = HTTPSamples.alerts()
            alerts.open[0].told = told
            // Something else was accepted after this alert began.
            alerts.receivers[0].lastSuccess = alerts.open[0].since + .seconds(3)
            return Page.render(HTTPSamples.page(alerts: alerts), styleSheet: "/x")
        }
        #expect(page(told: []).contains("oncall has not been told of it; 1 not delivered yet"))
        #expect(!page(told: []).contains("was told"))
        #expect(page(told: ["oncall"]).contains("oncall was told; 1 not delivered yet"))
    }

    @Test func `every open element is closed in order`() throws {
        let page = Page.render(HTTPSamples.page(), styleSheet: "/x")
        var open: [Substring] = []
        let void: Set<Substring> = ["meta", "link", "br", "rect", "circle", "path"]
        for match in page.matches(of: /<(\/?)([a-z][a-z0-9]*)[^>]*>/) {
            let name = match.2
            if void.contains(name), !match.0.hasSuffix("\"\"></rect>") {
                // A tick of the last looks carries a title.
                if name == "rect", !match.0.hasSuffix("/>") {
                    if match.1.isEmpty { open.append(name) } else { #expect(open.popLast() == name) }
                }
                continue
            }
            if match.1.isEmpty { open.append(name) } else { #expect(open.popLast() == name, "\(match.0)") }
        }
        #expect(open.isEmpty)
    }

    @Test func `an empty program has a page too`() {
        let board = HealthBoard(rules: [.poolSaturation()], time: ManualTime())
        let page = Page.render(
            HTTPSamples.page(
                board: board.snapshot(), holders: PoolHolders(holders: [], waiters: []),
                alerts: AlertsSnapshot(open: [], receivers: [], suppressed: [:], outboxProblem: "disk full")),
            styleSheet: "/x")
        for part in [
            "<h1>Unknown</h1>", "Nobody holds a connection.", "Nobody waits.", "No alert is open.", "No receiver is configured",
            "disk full", "not known",
        ] {
            #expect(page.contains(part), "\(part)")
        }
    }

    @Test func `the changes shown are the last ones, the newest first`() {
        let time = ManualTime(wall: HTTPSamples.wall)
        let board = HealthBoard(rules: [.poolSaturation()], time: time)
        for _ in 1...10 {
            // Critical, and healthy again after its dwell.
            for saturation in [1.5, 0.1, 0.1] {
                HTTPSamples.record("pool", ["saturation": saturation], nil, on: board, time)
                time.advance(by: .seconds(11))
            }
        }
        let snapshot = board.snapshot()
        let shown = HTTPSamples.page(board: snapshot).changes
        #expect(snapshot.history.count > PageModel.changeLimit && shown.count == PageModel.changeLimit)
        #expect(shown.first?.at == snapshot.history.last?.wall && shown.first?.to == .healthy)
        #expect(zip(shown, shown.dropFirst()).allSatisfy { $0.at > $1.at })
    }

    @Test func `the style sheet is inside, under a name of its content`() {
        let assets = Assets()
        #expect(assets.styleSheet.readableBytes > 1_000)
        #expect(assets.styleSheetPath.hasPrefix("/assets/healthd.css?v="))
        let css = String(buffer: assets.styleSheet)
        #expect(css.contains("color-scheme: light dark"))
        #expect(!css.contains("url(") && !css.contains("@import"))
    }
}
