import Synchronization
import Vitals

/// What the hub has seen, at one moment.
public struct EventHubStatistics: Sendable {
    public enum Resume: String, Sendable, Hashable, CaseIterable {
        /// The reader got all it had missed.
        case complete
        /// It had to begin anew.
        case gap
    }

    /// Open streams.
    public var clients: Int
    /// How many may be open.
    public var limit: Int
    /// By event name; `other` are those that only a later version knows.
    public var sent: [String: Int]
    /// Events not sent because their reader was slow; its stream ended with the first.
    public var dropped: Int
    /// Reconnects with `Last-Event-ID`.
    public var resumes: [Resume: Int]
    /// The longest backlog of one reader so far, in events.
    public var backlogPeak: Int
}

final class EventMeters: Sendable {
    private static let names = ["task:state", "reset", "task:deleted", "other"] + TaskEvent.Kind.known.map(\.rawValue)
    private static let known = Set(names)

    private let sent = LabelledCounter<String>(known: EventMeters.names)
    let dropped = Counter()
    let resumes = LabelledCounter(known: EventHubStatistics.Resume.allCases)
    private let peak = Atomic(0)

    func countSent(_ event: ServerSentEvent) {
        sent.add(for: event.event.flatMap { Self.known.contains($0) ? $0 : nil } ?? "other")
    }

    func sawBacklog(_ events: Int) {
        peak.max(events, ordering: .relaxed)
    }

    func statistics(clients: Int, limit: Int) -> EventHubStatistics {
        EventHubStatistics(
            clients: clients, limit: limit, sent: sent.values, dropped: dropped.value, resumes: resumes.values,
            backlogPeak: peak.load(ordering: .relaxed))
    }
}
