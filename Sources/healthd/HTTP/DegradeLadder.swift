import AppCore
import HTTPTypes
import Hummingbird
import Vitals

/// What a read was answered with, best first.
enum Rung: String, Sendable, CaseIterable {
    /// From the database, for this request or one beside it.
    case fresh
    /// From a cache, within its lifetime.
    case cached
    /// The last good answer, past its time: the database could not be asked.
    case stale
    /// 503: there was nothing to answer with.
    case refused
}

/// Answers reads while the database has no room for them, is down, or does not answer in time: fresh, cached, stale with its age, 503.
///
/// A stale answer is 200 with `Age` (RFC 9111) and `Warning: 110`. It is not past its time by more than the cache's `stale`, never shows
/// a version older than one that was seen, nor what is older than a write of this program; the steps of a running task excepted.
struct DegradeLadder: Sendable {
    let lastGood: LastGood
    let statistics: HTTPStatistics

    /// Which kept answer a request may get, and what makes it unfit.
    struct Subject: Sendable {
        /// Parsed parameters of the request: what the client wrote otherwise does not count.
        var key: String
        /// What writes are about: a workspace's id; nil when nothing of this program writes it.
        var writes: String?
        /// The newest version of it that a reader may have got.
        var newestVersion: @Sendable () -> Int? = { nil }
    }

    /// A read that the cache keeps, and answers on its own while loads fail.
    func answer<Value: Encodable>(_ name: String, fromCache read: () async throws -> CacheAnswer<Value>) async throws -> Response {
        let found: CacheAnswer<Value>
        do {
            found = try await read()
        } catch {
            throw refusal(of: error, name)
        }
        let response = try Response.json(found.value)
        switch found.source {
        case .loaded: return answered(response, name, .fresh)
        case .memory, .redis: return answered(response.aged(found.age), name, .cached)
        case .stale: return answered(response.aged(found.age).stale, name, .stale)
        }
    }

    /// A read that no cache keeps: each goes to the database, and its answer is kept for the time when that is not possible.
    func answer(_ name: String, about subject: Subject, _ read: () async throws -> JSONDocument) async throws -> Response {
        let key = "\(name) \(subject.key)"
        if let kept = fit(key, subject), kept.isResting { return answered(kept.response, name, .stale) }
        let about = subject.writes ?? key
        let reading = lastGood.begin(about: about)
        defer { lastGood.end(reading) }
        do {
            let document = try await read()
            lastGood.keep(document.bytes, for: key, version: document.version, of: reading)
            return answered(.json(document), name, .fresh)
        } catch {
            if case RequestProblem.notFound = error { lastGood.forget(about: about) }
            let answer = ErrorAnswer(error)
            guard answer.isShortage else { throw error }
            // One client's impatience is no reason to keep the others from the database.
            if answer.code == "database_unavailable" || !RequestTimeout.shortensRoute { lastGood.failed(key) }
            guard let kept = fit(key, subject) else { throw refusal(of: error, name) }
            return answered(kept.response, name, .stale)
        }
    }

    /// Around everything that writes: whether it took effect is not always known, and a kept answer must not be older than a write.
    func writing<Result: Sendable>(about subject: String, _ write: () async throws -> Result) async throws -> Result {
        do {
            let result = try await write()
            lastGood.wrote(about: subject)
            return result
        } catch {
            switch error {
            case RequestProblem.notFound: lastGood.forget(about: subject)
            // Nothing was written.
            case is RequestProblem: break
            default: lastGood.wrote(about: subject)
            }
            throw error
        }
    }

    /// Something new has this name: what was kept about it was about another, which the database has lost.
    func made(_ subject: String) { lastGood.wrote(about: subject) }

    private func fit(_ key: String, _ subject: Subject) -> LastGood.Kept? {
        guard let kept = lastGood.recall(key) else { return nil }
        if let version = kept.version, let newest = subject.newestVersion(), version < newest { return nil }
        return kept
    }

    private func answered(_ response: Response, _ name: String, _ rung: Rung) -> Response {
        statistics.answered(name, on: rung)
        return response
    }

    /// The last rung; what is no shortage stays what it is.
    private func refusal(of error: any Error, _ name: String) -> any Error {
        let answer = ErrorAnswer(error)
        guard answer.isShortage else { return error }
        statistics.answered(name, on: .refused)
        return answer.outOfRungs
    }
}

extension LastGood.Kept {
    fileprivate var response: Response {
        Response.json(JSONDocument(payload)).aged(age).stale
    }
}

extension Response {
    /// Source: RFC 9111, section 5.1: whole seconds.
    fileprivate func aged(_ age: Duration) -> Response {
        var response = self
        response.headers[.age] = "\(max(0, Int(age.seconds)))"
        return response
    }

    /// Source: RFC 7234, section 5.5.1. RFC 9111 no longer asks for it, and has nothing else that says so.
    fileprivate var stale: Response {
        var response = self
        response.headers[.warning] = "110 - \"Response is Stale\""
        return response
    }
}
