import Vitals

/// A date in a header, in each of the three forms that must be understood.
///
/// Source: RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`, and the two older `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
enum HTTPDate {
    /// Nil for anything else.
    static func time(_ text: String, now: WallTime) -> WallTime? {
        let parts = text.split(separator: " ")
        switch parts.count {
        case 6 where parts[5] == "GMT" && parts[0].hasSuffix(","): return time(year: parts[3], month: parts[2], day: parts[1], clock: parts[4])
        case 4 where parts[3] == "GMT" && parts[0].hasSuffix(","):
            let date = parts[1].split(separator: "-", omittingEmptySubsequences: false)
            guard date.count == 3, date[2].count == 2, let year = Int(date[2]) else { return nil }
            return time(year: "\(century(of: year, now: now) + year)", month: date[1], day: date[0], clock: parts[2])
        case 5: return time(year: parts[4], month: parts[1], day: parts[2].count == 1 ? "0\(parts[2])" : parts[2], clock: parts[3])
        default: return nil
        }
    }

    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    private static func time(year: some StringProtocol, month: Substring, day: some StringProtocol, clock: Substring) -> WallTime? {
        guard year.count == 4, day.count == 2, let month = months.firstIndex(of: String(month)) else { return nil }
        return WallTime(rfc3339: "\(year)-\(month < 9 ? "0" : "")\(month + 1)-\(day)T\(clock)Z")
    }

    /// A date more than fifty years ahead is the latest one in the past with the same two digits.
    private static func century(of year: Int, now: WallTime) -> Int {
        let present = Int(now.rfc3339.prefix(4)) ?? 2000
        let guess = present - present % 100
        return guess + year > present + 50 ? guess - 100 : guess
    }
}
