import Synchronization

/// From producers to one consumer with room for a single piece: what waits for a slow client waits where it is bounded, not here.
final class Handover: Sendable {
    typealias Piece = [UInt8]

    private struct State {
        var piece: Piece?
        /// Waits for room.
        var putter: (piece: Piece, continuation: CheckedContinuation<Bool, Never>)?
        /// Waits for a piece; only while there is none.
        var taker: CheckedContinuation<Piece?, Never>?
        var isClosed = false
        var taken = 0

        mutating func takePutter() -> CheckedContinuation<Bool, Never>? {
            defer { putter = nil }
            return putter?.continuation
        }

        mutating func takeTaker() -> CheckedContinuation<Piece?, Never>? {
            defer { taker = nil }
            if taker != nil { taken += 1 }
            return taker
        }
    }

    private let state = Mutex(State())

    init() {}

    /// Pieces the consumer has come for so far.
    var taken: Int { state.withLock { $0.taken } }

    /// Returns as soon as there is room for the piece. One call at a time.
    ///
    /// - Returns: false when the handover is closed, which a cancelled call does too.
    func put(_ piece: Piece) async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                enum Next { case refused, placed, given(CheckedContinuation<Piece?, Never>), wait }
                let next = state.withLock { state -> Next in
                    if state.isClosed { return .refused }
                    if let taker = state.takeTaker() { return .given(taker) }
                    guard state.piece == nil else {
                        state.putter = (piece, continuation)
                        return .wait
                    }
                    state.piece = piece
                    return .placed
                }
                switch next {
                case .refused: continuation.resume(returning: false)
                case .placed: continuation.resume(returning: true)
                case .given(let taker):
                    taker.resume(returning: piece)
                    continuation.resume(returning: true)
                case .wait: break
                }
            }
        } onCancel: {
            close()
        }
    }

    /// Leaves the piece if there is room for it.
    ///
    /// - Returns: false when the consumer has not yet come for the piece before.
    func offer(_ piece: Piece) -> Bool {
        let (fits, taker) = state.withLock { state -> (Bool, CheckedContinuation<Piece?, Never>?) in
            if state.isClosed { return (true, nil) }
            if let taker = state.takeTaker() { return (true, taker) }
            guard state.piece == nil else { return (false, nil) }
            state.piece = piece
            return (true, nil)
        }
        taker?.resume(returning: piece)
        return fits
    }

    /// The next piece, waiting for it; nil once the handover is closed and empty.
    func take() async -> Piece? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                enum Next { case piece(Piece?, CheckedContinuation<Bool, Never>?), wait }
                let next = state.withLock { state -> Next in
                    if let piece = state.piece {
                        state.taken += 1
                        state.piece = state.putter?.piece
                        return .piece(piece, state.takePutter())
                    }
                    if state.isClosed { return .piece(nil, nil) }
                    state.taker = continuation
                    return .wait
                }
                guard case .piece(let piece, let putter) = next else { return }
                putter?.resume(returning: true)
                continuation.resume(returning: piece)
            }
        } onCancel: {
            close()
        }
    }

    /// No more pieces; one that lies there is still taken.
    func close() {
        let (putter, taker) = state.withLock { state in
            state.isClosed = true
            return (state.takePutter(), state.takeTaker())
        }
        putter?.resume(returning: false)
        taker?.resume(returning: nil)
    }
}
