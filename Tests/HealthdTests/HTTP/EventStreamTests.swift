@testable import AppCore
import Hummingbird
import TestServers
import Testing
import Vitals

@testable import healthd

/// When clients of event streams are told to come back.
@Suite("Coming back to a stream")
struct EventStreamTests {
    private static let picture = PoolPicture(leased: 2, idle: 0, connecting: 0, waiting: 3, max: 2)

    /// Rows: why there is no stream, and the earliest and latest time to come back, in milliseconds.
    private static let refusals: [(any Error, ClosedRange<Int>)] = [
        (EventHub.TooManyStreams(limit: 200), 30_000...60_000),
        (PoolError.saturated(picture, waited: .zero, retryAfter: .seconds(1), reason: .queueFull), 5_000...10_000),
        (PoolError.saturated(picture, waited: .zero, retryAfter: .seconds(20), reason: .tooLate), 20_000...40_000),
        (PoolError.databaseUnavailable(cause: "gone", since: .seconds(4), nextAttemptIn: .seconds(1)), 5_000...10_000),
        (PostgresError.deadlineExceeded(after: .seconds(2)), 5_000...10_000),
    ]

    @Test("T4: six hundred clients that are refused together do not come back together", arguments: refusals)
    func refusedTogether(error: any Error, range: ClosedRange<Int>) async throws {
        var times: [Int] = []
        for _ in 0..<600 {
            let collector = BodyCollector()
            try await EventStream.refusal(of: error).body.write(collector)
            let retry = try #require(collector.text.firstMatch(of: /^retry: (\d+)\n/)?.1)
            times.append(try #require(Int(retry)))
            // What a program reads says the same, in whole seconds.
            let json = try #require(collector.text.firstMatch(of: /\ndata: (.*)\n/).flatMap { JSONValue(text: $0.1) })
            #expect(json["retryAfter"]?.intValue == (times[times.count - 1] + 999) / 1_000)
        }
        #expect(times.allSatisfy { range.contains($0) }, "\(times.min() ?? 0) to \(times.max() ?? 0)")
        #expect(Set(times).count > 400)
        // In no tenth of the time more than twice its share.
        let width = (range.upperBound - range.lowerBound) / 10
        let tenths = Dictionary(grouping: times) { ($0 - range.lowerBound) / width }.mapValues(\.count)
        #expect(tenths.values.allSatisfy { $0 < 120 }, "\(tenths)")
    }

    @Test("T4: those who lose their streams together are spread as well")
    func lostTogether() {
        for wait in [Duration.seconds(1), .seconds(2)] {
            let times = (0..<600).map { _ in EventStream.spread(wait) }
            #expect(Set(times).count > 200 && times.allSatisfy { $0 >= wait && $0 <= max(wait * 2, wait + .seconds(1)) })
        }
    }

    @Test("a silent stream beats before a proxy takes it for dead, the most impatient of which wait for half a minute")
    func beats() {
        #expect(EventStream.heartbeat <= .seconds(15) && EventStream.heartbeat >= .seconds(5))
    }
}
