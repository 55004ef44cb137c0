import Probes
import Synchronization

/// What each probe found last: for values that go to the metrics as they are.
///
/// A look that failed takes its values away: what is not known is absent.
final class LatestMeasurements: Sendable {
    private let measurements = Mutex<[ProbeID: Measurement]>([:])

    func record(_ sample: Sample) {
        measurements.withLock { $0[sample.probe] = sample.measurement }
    }

    func of(_ probe: ProbeID) -> Measurement? { measurements.withLock { $0[probe] } }
}
