import Vitals

/// One thing about healthd itself that must hold for it to be left running (`/livez`) or to be sent requests (`/readyz`).
struct SelfCheck: Sendable {
    /// `migrations`; what `?exclude=` names.
    var name: String
    /// False: told to people, without a say in the status.
    var isRequired: Bool
    /// Why it does not hold; nil when it does. Answered from memory: a check must not wait for anything.
    var failure: @Sendable () -> String?

    init(_ name: String, isRequired: Bool = true, failure: @escaping @Sendable () -> String?) {
        self.name = name
        self.isRequired = isRequired
        self.failure = failure
    }
}

/// The answer to `/livez` and `/readyz`: the status for machines, the lines for people.
///
/// Source: kubernetes.io/docs/reference/using-api/health-checks: `?verbose`, `?exclude=NAME` any number of times; a failure is
/// always told in full.
struct CheckReport: Sendable {
    var isGood: Bool
    var text: String

    /// - Parameter title: `readyz`.
    init(_ title: String, checks: [SelfCheck], excluded: [String], verbose: Bool) {
        var lines: [String] = []
        var failed = false
        for check in checks {
            if excluded.contains(check.name) {
                lines.append("[+]\(check.name) excluded: ok")
            } else if let failure = check.failure() {
                failed = failed || check.isRequired
                let weight = check.isRequired ? "failed" : "not well, and not required"
                lines.append("[-]\(check.name) \(weight): \(failure.oneLine(limit: 300))")
            } else {
                lines.append("[+]\(check.name) ok")
            }
        }
        let unknown = excluded.filter { name in !checks.contains { $0.name == name } }
        if !unknown.isEmpty {
            lines.append(
                "warn: some health checks cannot be excluded: no matches for \(unknown.map { "\"\($0.oneLine(limit: 60))\"" }.joined(separator: ","))"
            )
        }
        lines.append("\(title) check \(failed ? "failed" : "passed")")
        isGood = !failed
        text = failed || verbose ? lines.joined(separator: "\n") + "\n" : "ok"
    }
}
