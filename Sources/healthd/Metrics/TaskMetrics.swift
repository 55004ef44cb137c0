import AppCore
import Probes
import Vitals

func families(of tasks: TaskStatistics, queue: String = "main") -> [MetricFamily] {
    typealias Names = Catalogue.Tasks
    var states = MetricFamily(Names.tasks)
    // What the table held when it was last read; running is known to this process at any moment.
    for (state, count) in tasks.backlog ?? [:] where state != .running { states.add(count, queue, state.rawValue) }
    states.add(tasks.running, queue, AgentTask.State.running.rawValue)
    var run = MetricFamily(Names.duration)
    for (outcome, times) in tasks.run { run.add(times, queue, outcome.rawValue) }
    return [
        states, run,
        MetricFamily(Names.limit, tasks.limit, queue),
        MetricFamily(Names.queueDuration, tasks.queue, queue),
        MetricFamily(Names.retries, tasks.retries, queue),
        MetricFamily(Names.leasesLost, tasks.leasesLost, queue),
        MetricFamily(Names.oldestQueuedAge, tasks.oldestQueued?.seconds, queue),
    ]
}

func families(of streams: EventHubStatistics) -> [MetricFamily] {
    typealias Names = Catalogue.Streams
    var sent = MetricFamily(Names.eventsSent)
    for (event, count) in streams.sent { sent.add(count, event) }
    var resumes = MetricFamily(Names.resumes)
    for (result, count) in streams.resumes { resumes.add(count, result.rawValue) }
    return [
        sent, resumes,
        MetricFamily(Names.clients, streams.clients),
        MetricFamily(Names.clientsMax, streams.limit),
        MetricFamily(Names.eventsDropped, streams.dropped, "slow_client"),
        MetricFamily(Names.backlogPeak, streams.backlogPeak),
    ]
}
