import AppCore
import Probes
import Synchronization
import Vitals

/// Looks at the pool from inside: no connection is needed for it.
enum PoolWatch {
    /// From here on the server is asked whether it answers, before the pool is called full.
    static let doubtful = 0.5

    /// - Parameter serverAnswers: within a time; a server that does not keeps its connections leased, and that is no want of connections.
    static func probe(
        _ pool: PoolReading, interval: Duration, timeout: Duration, time: any TimeSource,
        serverAnswers: @escaping @Sendable (Duration) async -> Bool = { _ in true }
    ) -> Probe {
        let meter = MeterBox()
        return Probe(id: "pool", component: "pool", interval: interval, timeout: timeout) {
            let statistics = pool.current()
            var values = [
                "leased": Double(statistics.leased), "idle": Double(statistics.idle), "waiting": Double(statistics.waiting),
                "max": Double(statistics.max),
            ]
            let saturation = meter.saturation(statistics, at: time.now())
            // While the server is away or silent, nobody can say how full the pool is: no value, rather than a false one.
            if let unavailable = statistics.unavailable {
                values["unavailable"] = unavailable.since.seconds
            } else if saturation < doubtful {
                values["saturation"] = saturation
            } else if await serverAnswers(timeout * 4 / 5) {
                values["saturation"] = saturation
            }
            values["oldest_wait"] = statistics.oldestWait?.seconds
            return Measurement(values: values, summary: statistics.summary)
        }
    }

    /// Who holds and who waits, as an alert carries it.
    static func evidence(_ picture: PoolHolders, look: BackendLook?) -> Evidence {
        Evidence(
            holders: picture.holders.map { holder in
                let wait = look?.wait(of: holder)
                return Evidence.Holder(
                    purpose: holder.purpose, workClass: holder.workClass.rawValue, detail: holder.detail, statement: holder.statement,
                    callSite: holder.callSite, ageSeconds: holder.age.seconds, inTransaction: holder.inTransaction,
                    backendPID: holder.backendPID, wait: wait?.event, blockedBy: wait?.blockedBy ?? [])
            },
            waiters: picture.waiters.map {
                Evidence.Waiter(
                    purpose: $0.purpose, workClass: $0.workClass.rawValue, ageSeconds: $0.age.seconds,
                    deadlineInSeconds: $0.deadlineIn.seconds)
            })
    }

    private final class MeterBox: Sendable {
        private let meter = Mutex(SaturationMeter())

        func saturation(_ statistics: PoolStatistics, at now: MonotonicInstant) -> Double {
            meter.withLock { $0.saturation(statistics, at: now) }
        }
    }
}
