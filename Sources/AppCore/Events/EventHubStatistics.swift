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
    /// By event name.
    public var sent: [String: Int]
    /// Events not sent because their reader was slow; its stream ended with the first.
    public var dropped: Int
    /// Reconnects with `Last-Event-ID`.
    public var resumes: [Resume: Int]
    /// The longest backlog of one reader so far, in events.
    public var backlogPeak: Int
}

final class EventMeters: Sendable {
    let sent = LabelledCounter<String>(known: ["task:state", "reset"] + TaskEvent.Kind.allCases.map(\.rawValue))
    let dropped = Counter()
    let resumes = LabelledCounter(known: EventHubStatistics.Resume.allCases)
    private let peak = Atomic(0)

    func sawBacklog(_ events: Int) {
        peak.max(events, ordering: .relaxed)
    }

    func statistics(clients: Int, limit: Int) -> EventHubStatistics {
        EventHubStatistics(
            clients: clients, limit: limit, sent: sent.values, dropped: dropped.value, resumes: resumes.values,
            backlogPeak: peak.load(ordering: .relaxed))
    }
}
