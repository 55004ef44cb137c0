import AppCore
import Probes
import Synchronization
import Vitals

/// Looks at the pool from inside: no connection is needed for it.
enum PoolWatch {
    static func probe(_ pool: PoolReading, interval: Duration, timeout: Duration, time: any TimeSource) -> Probe {
        let meter = MeterBox()
        return Probe(id: "pool", component: "pool", interval: interval, timeout: timeout) {
            let statistics = pool.current()
            var values = [
                "saturation": meter.saturation(statistics, at: time.now()), "leased": Double(statistics.leased),
                "idle": Double(statistics.idle), "waiting": Double(statistics.waiting), "max": Double(statistics.max),
            ]
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
