public import Vitals

/// What one part of a test delivery led to: for `healthd alerts test`.
public struct TestDelivery: Sendable, Hashable {
    public var status: Notice.Status
    public var answer: DeliveryAnswer
    public var took: Duration
}

/// Sends a marked firing and its resolved the way real ones go, once each, past the outbox: nothing is stored or retried.
///
/// The resolved is not sent when the firing was not accepted.
public func sendTest(
    to receiver: Receiver, via sender: any NoticeSender, instance: String, externalURL: String, time: any TimeSource
) async throws -> [TestDelivery] {
    var state = AlertState()
    state.startsAt = time.wallNow()
    state.reason = "somebody asked for a test; nothing is wrong"
    let record = AlertRecord(rule: "healthd-test", component: "healthd", instance: instance, unit: .number, state: state)
    var deliveries: [TestDelivery] = []
    for status in [Notice.Status.firing, .resolved] {
        var notice = record.notice(id: Notice.newID(), why: .test, at: time.wallNow())
        notice.status = status
        notice.endsAt = status == .resolved ? time.wallNow() : nil
        let body = try WebhookBody(notice, receiver: receiver.name, externalURL: externalURL).bytes()
        let began = time.now()
        let answer = await sender.send(body, id: notice.id, to: receiver)
        deliveries.append(TestDelivery(status: status, answer: answer, took: time.now() - began))
        guard case .accepted = answer else { break }
    }
    return deliveries
}
