import Testing
import Vitals

@testable import healthd

@Suite struct `Connection book` {
    typealias Book = ConnectionBook<Int>

    static func at(_ seconds: Double) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds * 1e9)) }

    /// What one connection does, and when, in seconds.
    enum Act: Sendable {
        case comes, byte, header, end, answer, stuck, takes
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
            case .stuck: book.changed(id, takes: false, now: now)
            case .takes: book.changed(id, takes: true, now: now)
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
            ("half of a second header", [(0, .comes)] + request(at: 1) + [(30, .byte), (39, .byte)], 40, .headerTimeout),
            ("it takes nothing of its answer", [(0, .comes), (0, .header), (0, .end), (5, .stuck)], 65, .notReading),
            ("it takes nothing, and all is written", [(0, .comes)] + request(at: 1) + [(5, .stuck)], 65, .notReading),
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
            ("slow, but it takes", [(0, .comes), (0, .header), (0, .end), (1, .stuck), (50, .takes), (51, .stuck), (100, .takes)]),
        ] as [(String, [(Double, Act)])])
    func `whoever waits for us is never cut off`(_ name: String, acts: [(Double, Act)]) {
        var book = Self.book(acts)
        #expect(book.overdue(now: Self.at(86_400)).isEmpty)
        #expect(book.phases[.answering] == 1)
        #expect(book.makeRoom() == nil)
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
        #expect(!book.mayAdmit)
        book.opened(3, now: Self.at(2))
        #expect(book.admit(8, now: Self.at(2)) == .insteadOf(3))
        #expect(book.phases[.idle] == 1)
    }

    @Test func `when the kernel has no descriptor, silent clients go first though there be few`() {
        var book = Self.book([(0, .comes)] + Self.request(at: 0), id: 100, in: Book(maximum: 2_048))
        for id in 1...4 { book = Self.book([(Double(id), .comes)], id: id, in: book) }
        #expect(book.makeRoom() == 1)
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
        #expect(!book.mayAdmit)
        #expect(book.admit(3, now: Self.at(1)) == .refused)
        book.answered(1, now: Self.at(2))
        #expect(book.mayAdmit)
        #expect(book.admit(3, now: Self.at(3)) == .insteadOf(1))
        book.closed(2)
        #expect(book.admit(4, now: Self.at(3)) == .welcome)
    }

    @Test func `one that is not ready yet is not closed`() {
        var book = Book(maximum: 1)
        #expect(book.admit(1, now: Self.at(0)) == .welcome)
        #expect(!book.mayAdmit)
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
        book = Self.book([(1, .byte), (1, .header), (1, .end), (1, .answer), (1, .stuck)], in: book)
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
