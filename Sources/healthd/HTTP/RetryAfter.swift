import HTTPTypes
import Vitals

/// When a client that was turned away is asked to come back.
enum RetryAfter {
    /// The wait in whole seconds, at least 1, and up to a quarter more, 1 s at least, drawn for each: those who were turned away together
    /// must not come back together.
    static func seconds(for wait: Duration, using generator: inout some RandomNumberGenerator) -> Int {
        let whole = whole(wait)
        return whole + Int.random(in: 0...max(1, whole / 4), using: &generator)
    }

    /// The header knows no fractions, and 0 would be an invitation to hammer.
    static func whole(_ wait: Duration) -> Int { max(1, Int(min(wait.seconds, 86_400).rounded(.up))) }
}

extension ErrorAnswer {
    /// As it goes to one client.
    func jittered(using generator: inout some RandomNumberGenerator) -> ErrorAnswer {
        var answer = self
        answer.retryAfter = retryAfter.map { .seconds(RetryAfter.seconds(for: $0, using: &generator)) }
        return answer
    }

    /// As it is told where a read has a ladder to go down: out of rungs is 503, whatever the shortage.
    var outOfRungs: ErrorAnswer {
        var answer = self
        answer.status = .serviceUnavailable
        answer.retryAfter = retryAfter ?? .seconds(1)
        return answer
    }
}
