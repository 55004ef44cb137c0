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
            let saturation = meter.saturation(statistics, at: time.now())
            return Measurement(values: ["saturation": saturation], summary: statistics.summary)
        }
    }

    /// Who holds and who waits, as an alert carries it.
    static func evidence(_ pool: Pool) -> Evidence {
        let picture = pool.holders()
        return Evidence(
            holders: picture.holders.map {
                Evidence.Holder(
                    purpose: $0.purpose, detail: $0.detail, statement: $0.statement, callSite: $0.callSite,
                    ageSeconds: $0.age.seconds, inTransaction: $0.inTransaction, backendPID: $0.backendPID)
            },
            waiters: picture.waiters.map {
                Evidence.Waiter(purpose: $0.purpose, ageSeconds: $0.age.seconds, deadlineInSeconds: $0.deadlineIn.seconds)
            })
    }

    private final class MeterBox: Sendable {
        private let meter = Mutex(SaturationMeter())

        func saturation(_ statistics: PoolStatistics, at now: MonotonicInstant) -> Double {
            meter.withLock { $0.saturation(statistics, at: now) }
        }
    }
}
