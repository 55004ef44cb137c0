import Vitals

/// How a notice stands with one receiver. Each of the last three is an end.
enum DeliveryState: String, Sendable, Hashable {
    /// Waits to be taken.
    case queued
    case delivered
    /// Given up, with a line in the log.
    case dead
    /// Not owed any more: see `OutboxPolicy.Release`.
    case superseded
}

/// One notice as it stands with one receiver, for the policy.
struct Owed: Sendable, Hashable {
    var sequence: Int64
    var episode: String
    var status: Notice.Status
    var state: DeliveryState
    /// The receiver has answered, and did not take it.
    var wasRefused = false
}

/// What is owed to whom, and until when. Pure: the outbox asks after each change, and stores what it answers.
///
/// - A firing is owed to every receiver for as long as its alert is open, whatever the receiver answers; also to one that came later.
/// - A resolved is owed to whoever was told of its firing, or is about to be.
/// - What is over is owed for a day, counted while we run and try. Then all that waits of its episode, from the firing to the resolved, is given up.
/// - A refused notice keeps no later firing waiting.
/// - Of one alert no more than `depth` wait for one receiver: what is dropped is never the only firing or the only resolved.
struct OutboxPolicy: Sendable, Hashable {
    var depth = 16
    var expiry = Duration.seconds(86_400)
    /// After a start something is owed for so long at least, however old it is by the wall clock, which may be wrong.
    var grace = Duration.seconds(3_600)

    /// Why a notice that waits is not owed any more. The text is stored beside it.
    enum Release: String, Sendable, Hashable {
        /// A resolved whose firing the receiver is not known to have taken: a line in the log says that it goes untold.
        case neverTold = "its firing was never delivered"
        case outdated = "it was refused, and there is a later one"
        case tooMany = "one of too many undelivered notices of this alert"
    }

    /// - Parameter line: the notices of one alert for one receiver, in their order: of each episode all, or none.
    func releases(of line: [Owed]) -> [Int64: Release] {
        var releases: [Int64: Release] = [:]
        func waiting() -> [Owed] { line.filter { $0.state == .queued && releases[$0.sequence] == nil } }
        func release(_ notices: some Sequence<Owed>, _ why: Release) {
            for notice in notices { releases[notice.sequence] = why }
        }

        if let later = waiting().lastIndex(where: { $0.status == .firing }) {
            release(waiting()[..<later].filter(\.wasRefused), .outdated)
        }
        let told = Set(line.filter { $0.status == .firing && $0.state == .delivered }.map(\.episode))
        let aboutToBe = Set(waiting().filter { $0.status == .firing }.map(\.episode))
        release(waiting().filter { $0.status == .resolved && !told.contains($0.episode) && !aboutToBe.contains($0.episode) }, .neverTold)

        if waiting().count > depth { release(episodesInBetween(waiting()), .tooMany) }
        if waiting().count > depth { release(firingsInBetween(waiting()), .tooMany) }
        return releases
    }

    /// Whole episodes that are over, except the first, whose firing the receiver may have or be taking just now, and the latest.
    private func episodesInBetween(_ waiting: [Owed]) -> ArraySlice<Owed> {
        let begun = waiting.prefix { $0.episode == waiting[0].episode }.count
        guard let cut = waiting.dropFirst(begun).dropLast(2).lastIndex(where: { $0.status == .resolved }) else { return [] }
        return waiting[begun...cut]
    }

    /// The firings of an episode between its first and its latest: of an alert that got worse and better over and over.
    private func firingsInBetween(_ waiting: [Owed]) -> [Owed] {
        let firings = Dictionary(grouping: waiting.filter { $0.status == .firing }, by: \.episode)
        return firings.values.flatMap { $0.dropFirst().dropLast() }
    }
}

extension OutboxPolicy {
    /// Until when an episode that is over is owed.
    ///
    /// - Parameter episode: when what waits of it was seen; the latest decides.
    func owedUntil(_ episode: some Sequence<Sight>) -> MonotonicInstant? {
        episode.map { $0.at + max(expiry - $0.age, min(grace, expiry)) }.max()
    }
}
