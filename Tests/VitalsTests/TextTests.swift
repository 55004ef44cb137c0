import Testing
import Vitals

@Suite("Text of durations and strings")
struct TextTests {
    @Test(arguments: [
        (Duration.zero, "0 s"), (.microseconds(7), "7 µs"), (.microseconds(1_240), "1.2 ms"), (.milliseconds(250), "250 ms"),
        (.nanoseconds(999_600), "1 ms"), (.microseconds(999_600), "1 s"), (.milliseconds(59_700), "1 min"), (.milliseconds(3_599_600), "1 h"),
        (.milliseconds(86_399_700), "1 d"), (.milliseconds(1_200), "1.2 s"), (.seconds(59), "59 s"), (.seconds(200), "3 min 20 s"), (.seconds(7_500), "2 h 5 min"),
        (.seconds(180_000), "2 d 2 h"),
    ])
    func `a duration reads as a person says it`(duration: Duration, text: String) {
        #expect(duration.text == text)
    }

    @Test(arguments: [
        (1.5, .milliseconds(1_500)), (-2, .seconds(-2)), (.nan, .zero), (.infinity, .seconds(1_000_000_000_000_000)),
        (-1e300, .seconds(-1_000_000_000_000_000)),
    ] as [(Double, Duration)])
    func `seconds from outside become a duration, whatever they are`(seconds: Double, duration: Duration) {
        #expect(Duration(clampingSeconds: seconds) == duration)
    }

    @Test(arguments: [Duration.seconds(Int64.max), .seconds(Int64.min), .nanoseconds(Int64.max)])
    func `no duration is too long to be said`(duration: Duration) {
        #expect(duration.text.contains(" d"), "\(duration.text)")
    }

    @Test func `instants stop at the ends of their range`() {
        let (first, last) = (MonotonicInstant(nanoseconds: .min), MonotonicInstant(nanoseconds: .max))
        #expect(last - first == .nanoseconds(Int64.max) && first - last == .nanoseconds(Int64.min))
        #expect(last + .seconds(1) == last && first - .seconds(1) == first && last.nanoseconds(since: first) == .max)
    }

    @Test(arguments: [("250ms", 250), ("2s", 2_000), ("1.5h", 5_400_000), ("30m", 1_800_000), ("7d", 604_800_000), ("0s", 0)])
    func `a setting has its unit`(text: String, milliseconds: Int) {
        #expect(Duration(setting: text) == .milliseconds(milliseconds))
    }

    @Test(arguments: ["", "5", "s", "-1s", "1e400s", "nans", "1 s x", "10weeks"])
    func `a setting without a unit or a number is refused`(text: String) {
        #expect(Duration(setting: text) == nil)
    }

    @Test(arguments: [
        ("plain", 10, "plain"), ("two\nlines\u{7}", 20, "two lines "), ("a\u{85}b\u{2028}c\u{9B}", 20, "a b c "), ("abcdefghij", 8, "abcde…"), ("ääääää", 8, "ää…"),
    ])
    func `text from outside becomes one line of bounded size`(text: String, limit: Int, line: String) {
        #expect(text.oneLine(limit: limit) == line)
        #expect(text.oneLine(limit: limit).utf8.count <= limit)
    }
}
