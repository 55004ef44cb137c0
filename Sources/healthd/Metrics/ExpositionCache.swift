import NIOCore
import Probes
import Synchronization
import Vitals

/// The bytes of `/metrics`, rendered at most once for each sample, format and encoding.
///
/// A scrape takes a lock and copies a reference. Nothing is probed by it, however many scrapers there are and however ill
/// the targets. When no sample comes any more the bytes are rendered anew each second all the same: ages must go on growing.
final class ExpositionCache: Sendable {
    struct Answer: Sendable {
        var bytes: ByteBuffer
        var format: ExpositionFormat
        var isGzip: Bool
    }

    private struct Encoding: Hashable {
        var format: ExpositionFormat
        var isGzip: Bool
    }

    private struct Rendering {
        var generation: Int
        var at: MonotonicInstant
        var families: [MetricFamily]
        var bytes: [Encoding: ByteBuffer] = [:]
    }

    private struct State {
        var rendering: Rendering?
        /// Of the last rendering, before compression.
        var sizes: [ExpositionFormat: Int] = [:]
        var droppedSeries = 0
    }

    /// How old an answer may get while no sample comes.
    static let maximumAge = Duration.seconds(1)
    /// A bound on what label values from outside can do to a scraper.
    static let seriesLimit = 20_000

    private let state = Mutex(State())
    private let time: any TimeSource
    private let generation: @Sendable () -> Int
    private let collect: @Sendable () -> [MetricFamily]

    /// - Parameters:
    ///   - generation: another number whenever a sample came; see `RecentSamples.count`.
    ///   - collect: the families of this moment, from snapshots; must not touch a target.
    init(time: any TimeSource, generation: @escaping @Sendable () -> Int, collect: @escaping @Sendable () -> [MetricFamily]) {
        self.time = time
        self.generation = generation
        self.collect = collect
    }

    func answer(_ format: ExpositionFormat, gzip: Bool) -> Answer {
        let now = time.now()
        let generation = generation()
        let wanted = Encoding(format: format, isGzip: gzip)
        let (known, families) = state.withLock { state -> (ByteBuffer?, [MetricFamily]?) in
            guard let rendering = state.rendering, rendering.generation == generation, now - rendering.at < Self.maximumAge else {
                return (nil, nil)
            }
            return (rendering.bytes[wanted], rendering.families)
        }
        if let known { return Answer(bytes: known, format: format, isGzip: gzip) }

        // Outside the lock: two scrapers at once may both render, and one of the two is kept.
        let current = families ?? fresh()
        let plain = format.render(current)
        let packed = gzip ? Gzip.compress(plain) : nil
        let bytes = ByteBuffer(bytes: packed ?? plain)
        let encoding = Encoding(format: format, isGzip: packed != nil)
        state.withLock { state in
            state.sizes[format] = plain.count
            if state.rendering?.generation != generation || families == nil {
                state.rendering = Rendering(generation: generation, at: now, families: current)
            }
            state.rendering?.bytes[encoding] = bytes
        }
        return Answer(bytes: bytes, format: format, isGzip: encoding.isGzip)
    }

    /// What was collected, what is said about the exposition itself, and no more than the limit.
    private func fresh() -> [MetricFamily] {
        let (sizes, droppedBefore) = state.withLock { ($0.sizes, $0.droppedSeries) }
        let (kept, dropped) = collect().limited(toSeries: Self.seriesLimit)
        if dropped > 0 { state.withLock { $0.droppedSeries += dropped } }
        var size = MetricFamily(Catalogue.Exposition.size)
        for (format, bytes) in sizes { size.add(bytes, format.rawValue) }
        let series = kept.reduce(0) { $0 + $1.seriesCount } + sizes.count + 2
        return kept + [
            size,
            MetricFamily(Catalogue.Exposition.series, series),
            MetricFamily(Catalogue.Exposition.seriesDropped, droppedBefore + dropped, "limit"),
        ]
    }
}
