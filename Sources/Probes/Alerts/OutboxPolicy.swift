import Vitals

/// What is owed to whom, and until when. Pure: the outbox asks after each change that may release something, and stores what it answers.
///
/// - A firing is owed to every receiver for as long as its alert is open, whatever the receiver answers; also to one that came later.
/// - A resolved is owed to whoever has accepted a firing of its episode, or is about to be sent one.
/// - Of an episode that is over, what waits is owed for a day after its end. Time while healthd was off counts, but at least an hour is left after
///   a start. Then all of it, from the firing to the resolved, becomes dead letters.
/// - A notice that was refused is not owed any more when a later firing of its alert waits.
/// - Of one alert no more than `depth` wait for one receiver. What is released lies in between: whole episodes that are over, then firings that are
///   neither the first nor the latest of their episode.
struct OutboxPolicy: Sendable, Hashable {
    var depth = 16
    var expiry = Duration.seconds(86_400)
    /// So long at least is left after a start, however old a notice is by the wall clock, which may be wrong.
    var grace = Duration.seconds(3_600)

    /// Why a notice that waits is not owed any more. The text is stored beside it.
    enum Release: String, Sendable, Hashable {
        /// A resolved: the receiver accepted no firing of its episode, and none waits. A line in the log says that it is not told.
        case neverTold = "its firing was never delivered"
        case outdated = "it was refused, and there is a later one"
        case tooMany = "one of too many undelivered notices of this alert"
    }

    /// - Parameter line: the notices of one alert for one receiver, in their order; of each episode either all or none.
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

    /// Whole episodes that are over. Not the first, whose firing the receiver may have or be taking just now, and none that reaches into the last two
    /// notices, so that the latest state is told.
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
