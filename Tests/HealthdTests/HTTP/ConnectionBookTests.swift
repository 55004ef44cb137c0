import Testing
import Vitals

@testable import healthd

@Suite struct `Connection book` {
    typealias Book = ConnectionBook<Int>

    static func at(_ seconds: Double) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds * 1e9)) }

    /// What one connection does, and when, in seconds.
    enum Act: Sendable {
        /// `half`: the bytes that came end inside a header. `owes`: as many bytes taken, and more lies ready. `takesAll`: nothing does.
        case comes, byte, half, header, end, answer, owes(UInt64), takesAll
    }

    static func book(_ acts: [(Double, Act)], id: Int = 1, in book: Book = Book(maximum: 8)) -> Book {
        var book = book
        for (second, act) in acts {
            let now = at(second)
            switch act {
            case .comes:
                _ = book.admit(id, now: now)
                book.opened(id, now: now)
            case .byte: book.received(id, now: now)
            case .header: book.receivedHeader(id, now: now)
            case .end: book.receivedAll(id, now: now)
            case .answer: book.answered(id, now: now)
            case .half: book.isInHeader(id, true, now: now)
            case .owes(let taken): book.looked(id, taken: taken, more: true, now: now)
            case .takesAll: book.looked(id, taken: 1_000, more: false, now: now)
            }
        }
        return book
    }

    /// One request and its answer, all in the same instant.
    static func request(at second: Double) -> [(Double, Act)] { [(second, .byte), (second, .header), (second, .end), (second, .answer)] }

    @Test(
        arguments: [
            ("nothing is asked", [(0, .comes)], 10, .headerTimeout),
            ("half a header, byte by byte", [(0, .comes), (3, .byte), (6, .byte), (9, .byte)], 10, .headerTimeout),
            ("half a body, then silence", [(0, .comes), (1, .header), (20, .byte)], 50, .bodyTimeout),
            ("a body nobody reads, after the answer", [(0, .comes), (1, .header), (1, .answer)], 31, .bodyTimeout),
            ("answered, then silence", [(0, .comes)] + request(at: 1), 76, .idleTimeout),
            ("answered twice", [(0, .comes)] + request(at: 1) + request(at: 60), 135, .idleTimeout),
            ("half of a second header", [(0, .comes)] + request(at: 1) + [(30, .half), (39, .half)], 40, .headerTimeout),
            ("half of a header that came while it was answered", [(0, .comes), (0, .header), (0, .end), (1, .half), (20, .answer)], 30, .headerTimeout),
            ("bytes that begin no header", [(0, .comes)] + request(at: 1) + [(30, .byte)], 76, .idleTimeout),
            ("it takes nothing of its answer", [(0, .comes), (0, .header), (0, .end), (5, .owes(1)), (6, .owes(1))], 65, .notReading),
            ("it takes nothing, and all is written", [(0, .comes)] + request(at: 1) + [(5, .owes(1)), (9, .owes(1))], 65, .notReading),
            ("it took some, and then nothing", [(0, .comes)] + request(at: 1) + [(5, .owes(1)), (9, .owes(2)), (30, .owes(2))], 69, .notReading),
            ("it took all, slowly", [(0, .comes)] + request(at: 1) + [(5, .owes(1)), (50, .owes(2)), (100, .takesAll)], 175, .idleTimeout),
        ] as [(String, [(Double, Act)], Double, ConnectionEnd)])
    func `a client's time is over`(_ name: String, acts: [(Double, Act)], second: Double, reason: ConnectionEnd) {
        var book = Self.book(acts)
        #expect(book.overdue(now: Self.at(second - 0.001)).isEmpty)
        #expect(book.overdue(now: Self.at(second)).map(\.1) == [reason])
        #expect(book.count == 0)
    }

    @Test(
        arguments: [
            ("a request being answered, a stream", [(0, .comes), (0, .header), (0, .end)]),
            ("two requests in one go, one answered", [(0, .comes), (0, .header), (0, .end), (0, .header), (0, .end), (1, .answer)]),
            ("bytes of the next request meanwhile", [(0, .comes), (0, .header), (0, .end), (1, .byte)]),
            ("slow, but it took all in the end", [(0, .comes), (0, .header), (0, .end), (1, .owes(1)), (50, .owes(2)), (100, .takesAll)]),
        ] as [(String, [(Double, Act)])])
    func `whoever waits for us is never cut off`(_ name: String, acts: [(Double, Act)]) {
        var book = Self.book(acts)
        #expect(book.overdue(now: Self.at(86_400)).isEmpty)
        #expect(book.phases[.answering] == 1)
        #expect(book.makeRoom(now: Self.at(86_400)) == nil)
    }

    @Test func `silent clients never keep a newcomer out, nor one that has asked before`() {
        var book = Self.book([(0, .comes)] + Self.request(at: 0), id: 100)
        for id in 1...60 {
            // The oldest of the silent ones goes, each time.
            #expect(book.admit(id, now: Self.at(Double(id))) == (id < 8 ? .welcome : .insteadOf(id - 7)))
            book.opened(id, now: Self.at(Double(id)))
        }
        #expect(book.count == 8)
        #expect(book.phases[.idle] == 1)
    }

    @Test func `a flood that is not even ready yet does not take the place of one that has asked before`() {
        var book = Self.book([(0, .comes)] + Self.request(at: 0), id: 100)
        for id in 1...7 { #expect(book.admit(id, now: Self.at(1)) == .welcome) }
        #expect(!book.mayAdmit(now: Self.at(1)))
        book.opened(3, now: Self.at(2))
        #expect(book.admit(8, now: Self.at(2)) == .insteadOf(3))
        #expect(book.phases[.idle] == 1)
    }

    @Test func `when the kernel has no descriptor, silent clients go first though there be few`() {
        var book = Self.book([(0, .comes)] + Self.request(at: 0), id: 100, in: Book(maximum: 2_048))
        for id in 1...4 { book = Self.book([(Double(id), .comes)], id: id, in: book) }
        #expect(book.makeRoom(now: Self.at(4)) == 1)
        #expect(book.phases[.idle] == 1)
    }

    @Test func `clients that asked once and stay let a newcomer speak`() {
        var book = Book(maximum: 8)
        for id in 1...8 { book = Self.book([(Double(id), .comes)] + Self.request(at: Double(id)), id: id, in: book) }
        // The newcomer is left alone though another comes before it has asked.
        #expect(book.admit(9, now: Self.at(20)) == .insteadOf(1))
        book.opened(9, now: Self.at(20))
        #expect(book.admit(10, now: Self.at(20)) == .insteadOf(2))
        book.opened(10, now: Self.at(20))
        #expect(book.phases[.header] == 2)
    }

    @Test func `half a body is no way to hold a connection`() {
        var book = Book(maximum: 4)
        for id in 1...4 { book = Self.book([(Double(id), .comes), (Double(id), .header)], id: id, in: book) }
        #expect(book.admit(5, now: Self.at(9)) == .insteadOf(1))
    }

    @Test func `when all are being answered the next is refused, until one is done`() {
        var book = Book(maximum: 2)
        for id in 1...2 { book = Self.book([(0, .comes), (0, .header), (0, .end)], id: id, in: book) }
        #expect(!book.mayAdmit(now: Self.at(1)))
        #expect(book.admit(3, now: Self.at(1)) == .refused)
        book.answered(1, now: Self.at(2))
        #expect(book.mayAdmit(now: Self.at(2)))
        #expect(book.admit(3, now: Self.at(3)) == .insteadOf(1))
        book.closed(2)
        #expect(book.admit(4, now: Self.at(3)) == .welcome)
    }

    static let asked: [(Double, Act)] = [(0, .comes), (0, .header), (0, .end)]

    @Test func `clients that take nothing of their answers make room after five seconds, one that gets on never`() {
        var book = Book(maximum: 8)
        for id in 1...7 { book = Self.book(Self.asked + [(Double(id), .owes(1)), (Double(id) + 1, .owes(1))], id: id, in: book) }
        book = Self.book(Self.asked + [(0, .owes(1)), (5, .owes(2)), (10, .owes(3)), (15, .owes(4))], id: 8, in: book)
        #expect(!book.mayAdmit(now: Self.at(5.9)))
        #expect(book.admit(9, now: Self.at(6)) == .insteadOf(1))
        for id in 2...7 { book = Self.book([(15, .comes), (15, .header), (15, .end)], id: 100 + id, in: book) }
        // The one that gets on is still there.
        book.looked(8, taken: 4, more: true, now: Self.at(16))
        #expect(book.owing.contains(8))
        #expect(book.phases[.answering] == 8)
    }

    @Test func `clients that take nothing go before one that has asked and stays, if they are many`() {
        var book = Book(maximum: 4)
        for id in 1...3 { book = Self.book(Self.asked + [(1, .owes(1))], id: id, in: book) }
        book = Self.book([(0, .comes)] + Self.request(at: 0), id: 4, in: book)
        #expect(book.admit(5, now: Self.at(5)) == .insteadOf(4))
        book.closed(5)
        book = Self.book([(0, .comes)] + Self.request(at: 0), id: 4, in: book)
        let admission = book.admit(5, now: Self.at(6))
        #expect([.insteadOf(1), .insteadOf(2), .insteadOf(3)].contains(admission))
    }

    @Test(
        arguments: [
            ("half a header", [(99, .comes)], 100.5),
            ("an idle one", [(0, .comes)] + request(at: 99), 100.5),
            ("half a body", [(0, .comes), (99, .header)], 100.5),
            ("a body that comes", [(0, .comes), (99, .header), (100.3, .byte)], 100.8),
            ("one that takes nothing", asked + [(99, .owes(1))], 100.5),
            ("one that takes", asked + [(100.3, .owes(1))], 100.8),
            ("one that is being answered", asked, 108),
            ("one that takes, and takes", asked + (1...20).map { (98 + Double($0) / 2, .owes(UInt64($0))) }, 108),
        ] as [(String, [(Double, Act)], Double)])
    func `a server that stops waits for nobody who keeps it waiting`(_ name: String, acts: [(Double, Act)], second: Double) {
        var book = Self.book(acts)
        let stopping = Self.at(100)
        #expect(book.overdue(now: Self.at(second - 0.001), stopping: stopping).isEmpty)
        #expect(book.overdue(now: Self.at(second), stopping: stopping).map(\.1) == [.stopping])
    }

    @Test func `only those whose answer may be on its way are looked at`() {
        var book = Self.book([(0, .comes)])
        #expect(book.owing.isEmpty)
        book = Self.book([(1, .header), (1, .end), (1, .answer), (1, .takesAll)], in: book)
        #expect(book.owing == [1])
        book = Self.book([(2, .takesAll)], in: book)
        #expect(book.owing.isEmpty)
    }

    @Test func `one that is not ready yet is not closed`() {
        var book = Book(maximum: 1)
        #expect(book.admit(1, now: Self.at(0)) == .welcome)
        #expect(!book.mayAdmit(now: Self.at(0)))
        #expect(book.admit(2, now: Self.at(60)) == .refused)
        #expect(book.overdue(now: Self.at(60)).isEmpty)
        book.opened(1, now: Self.at(60))
        #expect(book.admit(2, now: Self.at(61)) == .insteadOf(1))
    }

    @Test func `one that is in the book is not let in twice`() {
        var book = Book(maximum: 1)
        #expect(book.admit(1, now: Self.at(0)) == .welcome)
        #expect(book.admit(1, now: Self.at(1)) == .known)
        #expect(book.count == 1)
    }

    @Test func `what is told of a connection that has gone changes nothing`() {
        var book = Self.book([(0, .comes)])
        book.closed(1)
        book = Self.book([(1, .byte), (1, .header), (1, .end), (1, .answer), (1, .owes(1))], in: book)
        #expect(book.count == 0)
    }
}

@Suite struct `Descriptor budget` {
    @Test(
        arguments: [
            // limit, open, pool, receivers, cores; connections, short, missing
            (64, 20, 10, 0, 2, 16, true, 24),
            (100, 20, 10, 0, 2, 28, true, nil),
            (128, 20, 10, 1, 2, 54, true, nil),
            (1_024, 20, 10, 1, 2, 950, true, nil),
            (1_024, 20, 1_000, 1, 2, 16, true, 56),
            (16_384, 20, 10, 1, 64, 2_048, false, nil),
            (.max, 20, 10, 1, 2, 2_048, false, nil),
        ] as [(Int, Int, Int, Int, Int, Int, Bool, Int?)])
    func `clients get what the program does not need`(
        limit: Int, open: Int, pool: Int, receivers: Int, cores: Int, connections: Int, isShort: Bool, missing: Int?
    ) {
        let budget = DescriptorBudget(limit: limit, open: open, needs: .init(pool: pool, receivers: receivers, cores: cores))
        #expect(budget.connections == connections)
        #expect(budget.isShort == isShort)
        #expect(budget.missing == missing)
        #expect(budget.streams(wanted: 1_000) == min(1_000, connections / 2))
    }
}

@Suite struct `Errors of listening` {
    @Test(
        arguments: [
            ("127.0.0.1:9798", .errno(98), "cannot listen on 127.0.0.1:9798: address already in use", "ss -ltnp sport = :9798"),
            ("192.0.2.1:9798", .errno(99), "cannot listen on 192.0.2.1:9798: this machine has no such address", "ip address"),
            ("127.0.0.1:80", .errno(13), "cannot listen on 127.0.0.1:80: permission denied", "CAP_NET_BIND_SERVICE"),
            ("127.0.0.1:80", .errno(13), "cannot listen on 127.0.0.1:80: permission denied", "AmbientCapabilities= and CapabilityBoundingSet= with it, and PrivateUsers=no"),
            ("[FE80::1]:9798", .errno(22), "cannot listen on [FE80::1]:9798: a link-local address is one of each network", "[::]:9798"),
            ("[2001:db8::1]:9798", .errno(22), "cannot listen on [2001:db8::1]:9798: Invalid argument", "errno 22"),
            ("127.0.0.1:9798", .errno(13), "cannot listen on 127.0.0.1:9798: permission denied", "sandbox"),
            ("[::1]:9798", .errno(97), "cannot listen on [::1]:9798: this machine has no IPv6", "listen"),
            ("nowhere.invalid:9798", .unknownName, "cannot listen on nowhere.invalid:9798: the name nowhere.invalid is not known", "listen"),
            ("127.0.0.1:9798", .errno(24), "cannot listen on 127.0.0.1:9798: too many open files", "LimitNOFILE"),
            ("127.0.0.1:9798", .errno(105), "cannot listen on 127.0.0.1:9798: No buffer space available", "errno 105"),
        ] as [(String, ListenError.Cause, String, String)])
    func `say which address, why, and what to do`(setting: String, cause: ListenError.Cause, beginning: String, hint: String) throws {
        let error = ListenError(try #require(ListenAddress(setting: setting)), cause)
        #expect(error.description.hasPrefix(beginning))
        #expect(error.description.contains(hint))
        #expect(ProgramEnd(error).status == 1)
        #expect(ProgramEnd(error).message == "healthd: \(error)")
    }

    @Test func `an error of something else is left alone`() throws {
        #expect(ListenError(try #require(ListenAddress(setting: "127.0.0.1:1")), CancellationError()) == nil)
    }
}
