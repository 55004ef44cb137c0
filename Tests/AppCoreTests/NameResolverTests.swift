import Glibc
import Synchronization
import Testing

@testable import AppCore

struct `A name` {
    private struct Lookup: Equatable {
        var found: [String]?
        var asked: [Int32]
    }

    /// A name that is only known where the families of this machine do not count, as `::1 pg6` in /etc/hosts of one without another IPv6.
    private func lookUp(_ first: NameResolver.Answer, then second: NameResolver.Answer) -> Lookup {
        let asked = Mutex<[Int32]>([])
        let result = NameResolver.lookUp("db") { _, flags in
            asked.withLock {
                $0.append(flags)
                return $0.count == 1 ? first : second
            }
        }
        return Lookup(found: try? result.get(), asked: asked.withLock { $0 })
    }

    @Test func `of which the machine has no family but the loopback is resolved all the same, as libpq does`() {
        #expect(lookUp(.failed(code: EAI_NONAME), then: .addresses(["::1"])) == Lookup(found: ["::1"], asked: [AI_ADDRCONFIG, 0]))
    }

    @Test func `that is found, or for which the resolver has no time, is asked for once`() {
        #expect(lookUp(.addresses(["127.0.0.1"]), then: .addresses(["::1"])) == Lookup(found: ["127.0.0.1"], asked: [AI_ADDRCONFIG]))
        #expect(lookUp(.failed(code: EAI_AGAIN), then: .addresses(["::1"])) == Lookup(found: nil, asked: [AI_ADDRCONFIG]))
        #expect(lookUp(.failed(code: EAI_NONAME), then: .failed(code: EAI_NONAME)) == Lookup(found: nil, asked: [AI_ADDRCONFIG, 0]))
    }

    @Test func `is found by the resolver of this machine`() throws {
        #expect(try !NameResolver.lookUp("localhost").get().isEmpty)
        #expect(NameResolver.isNumeric("::1") && NameResolver.isNumeric("127.0.0.1") && !NameResolver.isNumeric("localhost"))
    }

    @Test func `that could not be asked for for want of a thread is not one that got no answer`() {
        #expect(NameResolver.reason(of: BlockingCalls.Failure.deadlineExceeded) == "the resolver did not answer in time")
        #expect(NameResolver.reason(of: EventLoopError(call: "pthread_create", errno: EAGAIN)).hasPrefix("there is no thread for the resolver: "))
    }
}
