import Probes
import Vitals

/// Who holds, who waits, what was told to whom.
enum PageTables {
    static func holders(_ model: PageModel) -> HTML {
        let rows: [HTML] = model.holders.map { holder in
            """
            <tr>
            <td class="number">\(holder.age.text)</td>
            <th scope="row">\(holder.purpose)\(holder.detail, { " <span>\($0)</span>" })</th>
            <td>\(holder.workClass)</td>
            <td><code>\(holder.statement ?? "")</code>\(holder.inTransaction ? " <span class=\"flag\">in a transaction</span>" : .empty)\(holder.wait, { " <span>\($0)</span>" })</td>
            <td><span>\(holder.callSite ?? "")\(holder.backendPID, { " · backend \($0)" })</span></td>
            </tr>

            """
        }
        return """
            <section>
            <h2>Who holds a connection</h2>
            \(table(["for", "purpose", "class", "statement", "from"], rows, empty: "Nobody holds a connection."))
            \(more(model.omittedHolders))
            </section>
            """
    }

    static func waiters(_ model: PageModel) -> HTML {
        let rows: [HTML] = model.waiters.map { waiter in
            """
            <tr>
            <td class="number">\(waiter.age.text)</td>
            <th scope="row">\(waiter.purpose)\(waiter.detail, { " <span>\($0)</span>" })</th>
            <td>\(waiter.workClass)</td>
            <td class="number">\(waiter.deadlineIn.map { $0 > .zero ? "in \($0.text)" : "now" } ?? "never")</td>
            </tr>

            """
        }
        return """
            <section>
            <h2>Who waits for one</h2>
            \(table(["for", "purpose", "class", "gives up"], rows, empty: "Nobody waits."))
            \(more(model.omittedWaiters))
            </section>
            """
    }

    static func alerts(_ model: PageModel) -> HTML {
        let rows: [HTML] = model.alerts.map { alert in
            """
            <tr class="\(alert.severity.rawValue)">
            <th scope="row">\(alert.name)<br>\(PageParts.status(alert.severity)) <span>\(alert.state)</span></th>
            <td class="when">\(PageParts.clock(alert.since)) <span>\(alert.sinceFor.text)</span></td>
            <td class="reason">\(alert.reason)\(alert.evidence.map { "<br><span>held by \($0)</span>" as HTML })\(alert.deliveries.map { "<br><em>\($0)</em>" as HTML })</td>
            </tr>

            """
        }
        let receivers: [HTML] = model.receivers.map { receiver in
            """
            <tr class="\(receiver.isWell ? "healthy" : "degraded")">
            <th scope="row">\(receiver.name)</th>
            <td class="tone">\(PageParts.shape(receiver.isWell ? .healthy : .degraded)) \(receiver.note)</td>
            <td class="number">\(receiver.waiting)</td>
            <td class="number">\(receiver.deadLetters)</td>
            </tr>

            """
        }
        return """
            <section>
            <h2>Open alerts</h2>
            \(table(["alert", "since, UTC", "reason and delivery"], rows, empty: "No alert is open."))
            \(model.outboxProblem, { "<p class=\"problem\">\(PageParts.shape(.critical))Alert store: \($0)</p>" })
            <h3>Receivers</h3>
            \(table(["receiver", "delivery", "waiting", "dead letters"], receivers, empty: "No receiver is configured: nobody is told."))
            </section>
            """
    }

    static func changes(_ changes: [PageModel.Change]) -> HTML {
        let rows: [HTML] = changes.map { change in
            """
            <tr>
            <td class="when">\(PageParts.clock(change.at))</td>
            <th scope="row">\(change.component)</th>
            <td class="arrow">\(PageParts.status(change.from)) → \(PageParts.status(change.to))</td>
            <td class="reason">\(change.reason)</td>
            </tr>

            """
        }
        return """
            <section>
            <h2>Last changes</h2>
            \(table(["at, UTC", "component", "change", "reason"], rows, empty: "No component has changed its state since healthd started."))
            </section>
            """
    }

    private static func more(_ count: Int) -> HTML {
        count > 0
            ? "<p class=\"note\">and \(count) more; all of them are at <a href=\"/api/health/pool/holders\">holders</a></p>"
            : .empty
    }

    static func table(_ headings: [HTML], _ rows: [HTML], empty: HTML) -> HTML {
        guard !rows.isEmpty else { return "<p class=\"empty\">\(empty)</p>" }
        return """
            <div class="scroll" tabindex="0"><table>
            <thead><tr>\(headings.map { "<th scope=\"col\">\($0)</th>" as HTML })</tr></thead>
            <tbody>
            \(rows)</tbody>
            </table></div>
            """
    }
}
