import FoundationEssentials
import Vitals

/// A notice as receivers of Alertmanager's webhook know it, and beside it, under `healthd`, what that format has no place for.
///
/// Source: Alertmanager `template.Data`, webhook version "4". Keys are sorted: the same notice gives the same bytes in every attempt.
struct WebhookBody: Encodable {
    var version = "4"
    var groupKey: String
    var truncatedAlerts = 0
    var receiver: String
    var status: String
    var groupLabels: [String: String]
    var commonLabels: [String: String]
    var commonAnnotations: [String: String]
    var externalURL: String
    var alerts: [Alert]
    var healthd: Extra

    struct Alert: Encodable {
        var status: String
        var labels: [String: String]
        var annotations: [String: String]
        var startsAt: String
        /// Year 1 while it fires, as Alertmanager sends it.
        var endsAt: String
        var generatorURL: String
        var fingerprint: String
    }

    struct Extra: Encodable {
        var id: String
        var notification: String
        var value: Double?
        var threshold: Double?
        var peak: Double?
        var durationSeconds: Double?
        var holders: [Evidence.Holder]
        var waiters: [Evidence.Waiter]
        var omitted: Int
    }

    init(_ notice: Notice, receiver: String, externalURL: String) {
        let annotations = Self.annotations(notice)
        groupKey = Self.groupKey(notice)
        self.receiver = receiver
        status = notice.status.rawValue
        groupLabels = notice.labels.filter { $0.key == "alertname" || $0.key == "component" || $0.key == "instance" }
        commonLabels = notice.labels
        commonAnnotations = annotations
        self.externalURL = externalURL
        alerts = [
            Alert(
                status: notice.status.rawValue, labels: notice.labels, annotations: annotations, startsAt: notice.startsAt.rfc3339,
                endsAt: notice.endsAt?.rfc3339 ?? "0001-01-01T00:00:00Z", generatorURL: externalURL, fingerprint: notice.fingerprint)
        ]
        healthd = Extra(
            id: notice.id, notification: notice.why.rawValue, value: notice.value, threshold: notice.threshold, peak: notice.peak,
            durationSeconds: notice.duration?.seconds, holders: notice.evidence?.holders ?? [],
            waiters: notice.evidence?.waiters ?? [], omitted: notice.evidence?.omitted ?? 0)
    }

    func bytes() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(self))
    }

    /// Like Alertmanager's: the route, then the group's labels. Firing and resolved of one alert share it, and no two alerts do.
    private static func groupKey(_ notice: Notice) -> String {
        let labels = notice.labels.filter { $0.key != "severity" }.sorted { $0.key < $1.key }
        return "{}:{" + labels.map { "\($0.key)=\"\($0.value)\"" }.joined(separator: ", ") + "}"
    }

    private static func annotations(_ notice: Notice) -> [String: String] {
        var annotations = ["summary": notice.summary, "reason": notice.reason]
        var description = notice.reason
        if let value = notice.value { annotations["value"] = notice.unit.text(value) }
        if let threshold = notice.threshold { annotations["threshold"] = notice.unit.text(threshold) }
        if let peak = notice.peak { annotations["peak"] = notice.unit.text(peak) }
        if let duration = notice.duration { annotations["duration"] = duration.text }
        if let evidence = notice.evidence, !evidence.isEmpty {
            annotations["holders"] = evidence.holders.map(\.text).joined(separator: "\n")
            annotations["waiters"] = evidence.waiters.map(\.text).joined(separator: "\n")
            if let oldest = evidence.holders.first { description += ". Held longest: \(oldest.text)" }
            if let oldest = evidence.waiters.first { description += ". Waits longest: \(oldest.text)" }
        }
        annotations["description"] = description
        return annotations
    }
}
