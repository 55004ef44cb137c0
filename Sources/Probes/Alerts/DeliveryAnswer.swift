import Vitals

/// How one attempt ended.
public enum DeliveryAnswer: Sendable, Hashable {
    /// Taken: any 2xx.
    case accepted(status: Int)
    /// Try again, not before `after` if the receiver named a time.
    case tryAgain(AttemptResult, reason: String, after: Duration?)
    /// The receiver answered, and did not take it: any status but 2xx, 408, 410, 425, 429 and 5xx. That may stay so until somebody acts.
    case refused(reason: String)
    /// 410: the receiver wants nothing more.
    case gone(reason: String)
}

/// The `result` label of `healthd_alert_notifications_total`.
public enum AttemptResult: String, Sendable, Hashable, Codable, CaseIterable {
    /// Accepted: a 2xx.
    case ok
    /// Any other answer; a refusal is one.
    case httpError = "http_error"
    /// No answer in time.
    case timeout
    /// No answer at all: no connection, or one that broke.
    case unreachable
}

extension DeliveryAnswer {
    /// A receiver that asks for a longer pause is asked again after this one.
    static let longestRetryAfter = Duration.seconds(3_600)

    /// What a status means. Redirections are not followed: the address is the credential, and it was given for one host.
    ///
    /// - Parameter quote: what may be repeated of the answer's text.
    static func answer(status: Int, retryAfter: String?, quote: String, now: WallTime) -> DeliveryAnswer {
        let quoted = quote.isEmpty ? "" : ": \(quote)"
        let reason = "HTTP \(status)\(meaning(of: status))\(quoted)\(advice(on: status))"
        switch status {
        case 200...299: return .accepted(status: status)
        case 408, 425, 429, 500...599: return .tryAgain(.httpError, reason: reason, after: retryAfter.flatMap { delay($0, now: now) })
        case 300...399:
            return .refused(reason: "HTTP \(status), a redirection, which is not followed; the webhook must be the address that takes notices itself")
        case 410: return .gone(reason: reason)
        default: return .refused(reason: reason)
        }
    }

    /// A number alone tells most people nothing. Source: RFC 9110, section 15, and RFC 6585.
    private static func meaning(of status: Int) -> String {
        switch status {
        case 400: " Bad Request"
        case 401: " Unauthorized"
        case 403: " Forbidden"
        case 404: " Not Found"
        case 405: " Method Not Allowed"
        case 408: " Request Timeout"
        case 410: " Gone"
        case 413: " Content Too Large"
        case 425: " Too Early"
        case 429: " Too Many Requests"
        case 500: " Internal Server Error"
        case 502: " Bad Gateway"
        case 503: " Service Unavailable"
        case 504: " Gateway Timeout"
        default: ""
        }
    }

    private static func advice(on status: Int) -> String {
        switch status {
        case 401, 403: "; is the webhook's address complete?"
        case 404, 405: "; is the webhook's address right?"
        case 410: "; it wants no more notices"
        case 408, 425, 429, 500...599: ""
        default: "; it takes no notices as healthd sends them"
        }
    }

    /// `Retry-After` in seconds or as a date; a date that has passed is no delay, nonsense is nil.
    static func delay(_ text: String, now: WallTime) -> Duration? {
        let text = text.trimmingBlanks
        if let seconds = Int64(text) {
            return seconds < 0 ? nil : min(longestRetryAfter, .seconds(min(seconds, 1_000_000)))
        }
        return HTTPDate.time(text, now: now).map { min(longestRetryAfter, max(.zero, $0 - now)) }
    }
}

extension String {
    fileprivate var trimmingBlanks: String {
        var slice = self[...]
        while slice.first == " " || slice.first == "\t" { slice.removeFirst() }
        while slice.last == " " || slice.last == "\t" { slice.removeLast() }
        return String(slice)
    }
}
