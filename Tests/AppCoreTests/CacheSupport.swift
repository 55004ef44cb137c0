import Synchronization
import Vitals

@testable import AppCore

/// A row behind a key of the cache, which a test changes, and how often it was read.
final class CachedRow: Sendable {
    struct Note: CacheableValue, Hashable {
        var version: Int
        var text = ""
    }

    private struct State {
        var note: Note?
        var error: (any Error)?
        var reads = 0
    }

    private let state: Mutex<State>

    init(_ note: Note = Note(version: 1, text: "first")) {
        state = Mutex(State(note: note))
    }

    var reads: Int { state.withLock { $0.reads } }

    /// Nil is a row that is gone.
    func set(_ note: Note?) { state.withLock { $0.note = note } }
    func fail(with error: (any Error)?) { state.withLock { $0.error = error } }

    @Sendable func read() async throws -> Note {
        try state.withLock { state in
            state.reads += 1
            if let error = state.error { throw error }
            guard let note = state.note else { throw RequestProblem.notFound(what: "note") }
            return note
        }
    }
}

/// A load that has read its row, and does not end before it may.
struct HeldLoad: Sendable {
    private let row: CachedRow
    private let reads = AsyncStream.makeStream(of: Void.self)
    private let ends = AsyncStream.makeStream(of: Void.self)

    init(of row: CachedRow) {
        self.row = row
    }

    @Sendable func load() async throws -> CachedRow.Note {
        let note = try await row.read()
        reads.continuation.finish()
        for await _ in ends.stream {}
        return note
    }

    func untilRead() async { for await _ in reads.stream {} }
    func release() { ends.continuation.finish() }
}
