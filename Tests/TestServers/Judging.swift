import Vitals

/// A time in seconds or so that whoever uses the program may count on, whatever else the machine has to do.
///
/// - Parameter words: whose promise it is, and what it says.
public func promise(_ time: Duration, _ words: StaticString) -> Duration { time }

/// How long `body` takes.
public func timed(_ body: () async throws -> Void) async rethrows -> Duration {
    let began = MonotonicInstant.now()
    try await body()
    return .now() - began
}

/// A time that was measured beside a reference, and the bound that a calm machine would have to keep.
public struct Judged: Sendable, CustomStringConvertible {
    public var took: Duration
    public var bound: Duration
    public var reference: Reference

    public init(_ took: Duration, bound: Duration, reference: Reference) {
        (self.took, self.bound, self.reference) = (took, bound, reference)
    }

    public var allowed: Duration { reference.allows(bound) }
    public var holds: Bool { took < allowed }

    public var description: String { "\(took.text) where \(bound.text) is asked, here \(allowed.text): \(reference.text)" }
}

/// Whether `measure` stays below a bound for a calm machine, by what the machine does meanwhile; up to three tries, of which the first that
/// does is the last.
///
/// - Parameter measure: answers the time to be judged. All that it measures has to happen while it runs.
public func judged(below bound: Duration, tries: Int = 3, _ measure: () async throws -> Duration) async throws -> Judged {
    var tries = tries
    while true {
        let (took, reference) = try await beside(measure)
        let found = Judged(took, bound: bound, reference: reference)
        tries -= 1
        if found.holds || tries == 0 { return found }
        print("judged: \(found)")
    }
}
