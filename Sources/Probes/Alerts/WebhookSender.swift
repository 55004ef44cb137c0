import AsyncHTTPClient
import Logging
import NIOCore
import NIOHTTP1
public import Vitals

/// Posts notices to webhooks, signed as Standard Webhooks has it.
public final class WebhookSender: NoticeSender {
    private let client: HTTPClient
    private let time: any TimeSource
    private let userAgent: String

    /// From name resolution to the answer's status, or to the reason why there is none.
    public static let attemptLimit = Duration.seconds(15)
    /// At most this much of an answer's text is read, for at most `bodyPatience`: the status has decided.
    static let bodyLimit = 64 * 1024
    static let bodyPatience = Duration.seconds(1)

    /// - Parameter version: of healthd, for `User-Agent`.
    public init(version: String, time: any TimeSource) {
        self.time = time
        userAgent = "healthd/\(version)"
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = .seconds(5)
        configuration.httpVersion = .http1Only
        // Minutes lie between notices: a kept connection would mostly be found closed by the other side.
        configuration.maximumUsesPerConnection = 1
        configuration.http1_1ConnectionDebugInitializer = AnswerHandlers.install
        // The receiver's queue tries again, and tells why it has to.
        configuration.connectionPool.retryConnectionEstablishment = false
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Must be called before the value goes away; the sender cannot be used afterwards.
    public func shutdown() async throws {
        try await client.shutdown()
    }

    public func send(_ body: [UInt8], id: String, to receiver: Receiver) async -> DeliveryAnswer {
        let limit = time.now() + Self.attemptLimit
        return await withTaskGroup(of: Part.self) { group in
            group.addTask { await self.post(body, id: id, to: receiver, until: limit) }
            group.addTask { [time] in
                guard (try? await time.sleep(until: limit)) != nil else { return .cancelled }
                return .timeIsUp
            }
            let first = await group.next()
            group.cancelAll()
            let second = await group.next()
            switch (first, second) {
            // An answer whose status is known is an answer, however late its text.
            case (.answer(let answer), _), (_, .answer(let answer)), (.noAnswer(let answer), _): return answer
            case (.timeIsUp, _):
                return .tryAgain(.timeout, reason: Self.noDelivery(to: receiver, "no answer within \(Self.attemptLimit.text)"), after: nil)
            default: return .tryAgain(.timeout, reason: Self.noDelivery(to: receiver, "given up before it was done"), after: nil)
            }
        }
    }

    /// How the attempt ended, or the clock that runs beside it.
    private enum Part {
        case answer(DeliveryAnswer)
        case noAnswer(DeliveryAnswer)
        case timeIsUp
        case cancelled
    }

    private func post(_ body: [UInt8], id: String, to receiver: Receiver, until limit: MonotonicInstant) async -> Part {
        var request = HTTPClientRequest(url: receiver.url.reveal())
        request.method = .POST
        let timestamp = time.wallNow().microsecondsSince1970 / 1_000_000
        request.headers.add(name: "content-type", value: "application/json")
        request.headers.add(name: "user-agent", value: userAgent)
        request.headers.add(name: "webhook-id", value: id)
        request.headers.add(name: "webhook-timestamp", value: "\(timestamp)")
        if let authorization = receiver.authorization {
            request.headers.add(name: "authorization", value: authorization.reveal())
        }
        if let signature = webhookSignature(id: id, timestamp: timestamp, body: body, secrets: receiver.secrets) {
            request.headers.add(name: "webhook-signature", value: signature)
        }
        request.body = .bytes(body)
        do {
            let response = try await client.execute(request, deadline: .now() + .nanoseconds(Self.attemptLimit.nanoseconds))
            let text = await text(of: response.body)
            return .answer(
                .answer(
                    status: Int(response.status.code), retryAfter: response.headers.first(name: "retry-after"),
                    quote: AnswerQuote.quote(text, hiding: receiver.secretsOfRequest), now: time.wallNow()))
        } catch let unreadable as UnreadableAnswer {
            return .answer(.answer(status: unreadable.status, retryAfter: nil, quote: "", now: time.wallNow()))
        } catch {
            return .noAnswer(await answer(for: error, to: receiver, until: limit))
        }
    }

    /// As much as comes within the limits: a body that does not end is cut off, and one that breaks off is as good as one that ends.
    private func text(of body: HTTPClientResponse.Body) async -> String {
        await withTaskGroup(of: String?.self) { group in
            group.addTask { await Self.read(body) }
            group.addTask { [time] in
                try? await time.sleep(for: Self.bodyPatience)
                return nil
            }
            var text = ""
            for await part in group {
                text = part ?? text
                group.cancelAll()
            }
            return text
        }
    }

    private static func read(_ body: HTTPClientResponse.Body) async -> String {
        var read = ByteBuffer()
        do {
            for try await part in body {
                read.writeImmutableBuffer(part)
                if read.readableBytes >= bodyLimit { break }
            }
        } catch {}
        return String(decoding: read.readableBytesView.prefix(bodyLimit), as: UTF8.self)
    }

    /// The attempt failed before there was an answer: why, and never the address beyond its host.
    private func answer(for error: any Error, to receiver: Receiver, until limit: MonotonicInstant) async -> DeliveryAnswer {
        var failure = NetworkFailure(error)
        if failure.kind == .untrusted,
            let reason = await CertificateLook.reason(against: receiver.url.reveal(), within: min(CertificateLook.limit, limit - time.now()))
        {
            failure.words = reason
        }
        return .tryAgain(failure.kind == .timeout ? .timeout : .unreachable, reason: Self.noDelivery(to: receiver, failure.words), after: nil)
    }

    private static func noDelivery(to receiver: Receiver, _ words: String) -> String { "no delivery to \(receiver.host): \(words)" }
}
