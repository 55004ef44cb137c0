import FoundationEssentials
import Testing
import Vitals

@Suite("WallTime")
struct WallTimeTests {
    @Test(arguments: [
        (1_795_497_716_135_131, "2026-11-24T05:21:56.135131Z"), (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"), (1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z"),
        (951_782_400_120_000, "2000-02-29T00:00:00.120Z"),
    ])
    func `is written with every microsecond and read back the same`(microseconds: Int64, text: String) throws {
        let time = WallTime(microsecondsSince1970: microseconds)
        #expect(time.rfc3339Exact == text)
        #expect(WallTime(rfc3339: text) == time)
        let encoded = try JSONEncoder().encode([time])
        #expect(try JSONDecoder().decode([WallTime].self, from: encoded) == [time])
    }

    @Test(arguments: [
        ("2026-11-24 05:21:56.135131+00", 1_795_497_716_135_131), ("2026-11-24T06:21:56.1+01:00", 1_795_497_716_100_000),
        ("2026-11-24T05:21:56Z", 1_795_497_716_000_000), ("2026-11-24 05:21:56-00", 1_795_497_716_000_000),
    ])
    func `reads PostgreSQL's form and any offset`(text: String, microseconds: Int64) {
        #expect(WallTime(rfc3339: text)?.microsecondsSince1970 == microseconds)
    }

    @Test(arguments: [
        "", "now", "2026-11-24", "10000-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC", "infinity", "2026-11-24 05:21:56+00:00:30", "2026-11-24T05:21:56Zx",
        "2026-13-01T00:00:00Z", "2026-11-24T05:21:56.Z"])
    func `refuses what is no time`(text: String) {
        #expect(WallTime(rfc3339: text) == nil)
    }

    @Test func `beyond the first and the last time there is none`() {
        let (first, last) = (WallTime(microsecondsSince1970: .min), WallTime(microsecondsSince1970: .max))
        #expect(last + .seconds(1) == last && first + .seconds(-1) == first)
        #expect(last - first == .microseconds(Int64.max) && first - last == .microseconds(Int64.min))
        // What is stored may be any number: it is written somehow, and nothing ends.
        for time in [first, last] { #expect(!time.rfc3339Exact.isEmpty) }
    }

    @Test func `people read milliseconds`() {
        #expect(WallTime(microsecondsSince1970: 1_795_497_716_135_999).rfc3339 == "2026-11-24T05:21:56.135Z")
    }
}
