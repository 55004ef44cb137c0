import TestServers
import Testing
import Vitals

@testable import Probes

/// What one receiver is owed of one alert.
@Suite struct `What is owed` {
    /// A line as it is written here: `F` a firing that waits, `f` one that was delivered, `!` one that waits and was refused, `x` one that is a dead letter;
    /// `R`, `r` and `X` a resolved that waits, was delivered, waits and was refused; `|` between two episodes.
    private func line(_ word: String) -> [Owed] {
        var owed: [Owed] = []
        var episode = 1
        for letter in word {
            if letter == "|" {
                episode += 1
                continue
            }
            owed.append(
                Owed(
                    sequence: Int64(owed.count), episode: "\(episode)", status: "RrX".contains(letter) ? .resolved : .firing,
                    state: letter == "x" ? .deadLetter : letter.isLowercase ? .delivered : .queued, wasRefused: "!X".contains(letter)))
        }
        return owed
    }

    /// The line again, `-` for what is not owed any more.
    private func left(of word: String) -> String {
        let releases = OutboxPolicy().releases(of: line(word))
        var sequence: Int64 = -1
        return String(
            word.map { letter in
                guard letter != "|" else { return letter }
                sequence += 1
                return releases[sequence] == nil ? letter : "-"
            })
    }

    @Test(arguments: [
        // A firing waits whatever happens; a resolved goes with it.
        ("F", "F"), ("FR", "FR"), ("f", "f"), ("fR", "fR"), ("fFR", "fFR"), ("!", "!"), ("!R", "!R"),
        // Nobody was told, so nobody is told of its end.
        ("R", "-"), ("xR", "x-"), ("xFR", "xFR"), ("fxR", "fxR"),
        // A refused one keeps nothing waiting: a later firing takes its place, and an episode that is over by then goes whole.
        ("!F", "-F"), ("!FR", "-FR"), ("!R|F", "--|F"), ("f!R", "f!R"), ("fX|F", "f-|F"), ("!R|!", "--|!"), ("f!F", "f-F"),
        // Sixteen may wait.
        ("FR|FR|FR|FR|FR|FR|FR|FR", "FR|FR|FR|FR|FR|FR|FR|FR"),
        // The seventeenth is one too many: episodes that are over go, but for the first and the latest.
        ("FR|FR|FR|FR|FR|FR|FR|FR|F", "FR|--|--|--|--|--|--|FR|F"),
        ("fR|FR|FR|FR|FR|FR|FR|FR|FR", "fR|--|--|--|--|--|--|--|FR"),
        ("fR|FR|FR|FR|FR|FR|FR|FR|FR|F", "fR|--|--|--|--|--|--|--|FR|F"),
        // Of an episode that does not end, the firings between the first and the latest.
        ("FFFFFFFFFFFFFFFFF", "F---------------F"), ("fFFFFFFFFFFFFFFFFF", "fF---------------F"),
        ("FFFFFFFFFFFFFFFFR", "F--------------FR"), ("FR|FFFFFFFFFFFFFFF", "FR|F-------------F"),
    ])
    func `of a line is this`(word: String, left: String) {
        #expect(self.left(of: word) == left)
    }

    /// A receiver that takes some, refuses some and is away for most of it, and an alert that does what it likes.
    @Test(arguments: 1...40) func `A1: no sequence of states passes the bound, or loses the only firing or the only resolved`(_ seed: UInt64) {
        var random = Seeded(seed)
        let policy = OutboxPolicy()
        var line: [Owed] = []
        var episode = 0
        var isOpen = false
        for step in 0..<600 {
            let ends = isOpen && Int.random(in: 0..<(seed.isMultiple(of: 3) ? 60 : 4), using: &random) == 0
            if !isOpen { episode += 1 }
            isOpen = !ends
            line.append(Owed(sequence: Int64(step), episode: "\(episode)", status: ends ? .resolved : .firing, state: .queued))
            for (sequence, _) in policy.releases(of: line) {
                guard let index = line.firstIndex(where: { $0.sequence == sequence }) else { continue }
                line[index].state = .released
            }
            #expect(line.count { $0.state == .queued } <= policy.depth)
            let own = line.filter { $0.episode == "\(episode)" }
            if isOpen {
                #expect(own.last?.state == .queued, "the latest firing is owed")
            } else {
                #expect(own.last?.state == .queued, "and so is the end of what is about to be told")
            }
            // Now and then the receiver answers for the oldest.
            guard let head = line.firstIndex(where: { $0.state == .queued }) else { continue }
            switch Int.random(in: 0..<12, using: &random) {
            case 0: line[head].state = .delivered
            case 1: line[head].wasRefused = true
            default: break
            }
        }
    }

    @Test func `A5: is owed for a day after its end, and after a start for an hour, whatever the wall clock says`() {
        let policy = OutboxPolicy()
        let now = MonotonicInstant.start
        let fresh = Sight(at: now, age: .zero)
        #expect(policy.owedUntil([fresh]) == now + .seconds(86_400))
        #expect(policy.owedUntil([Sight(at: now, age: .seconds(80_000))]) == now + .seconds(6_400))
        #expect(policy.owedUntil([Sight(at: now, age: .seconds(1_800_000_000))]) == now + .seconds(3_600), "a clock that was set right")
        #expect(policy.owedUntil([Sight(at: now, age: .seconds(-1_800_000_000))]) == now + .seconds(86_400), "or wrong")
        // The end of an episode decides for all of it.
        let end = Sight(at: now + .seconds(50_000), age: .zero)
        #expect(policy.owedUntil([fresh, end]) == now + .seconds(136_400))
        #expect(policy.owedUntil([]) == nil)
        #expect(Sight(at: now, age: .seconds(5)).age(at: now + .seconds(7)) == .seconds(12))
    }

    @Test func `A13: a recipient is its address, and what it is called is another matter`() throws {
        func recipients(_ receivers: (String, String)...) throws -> [Recipient] {
            Recipient.all(try receivers.map { try Receiver(name: $0.0, url: $0.1) })
        }
        let one = try recipients(("a", "https://example.org/canary"))
        #expect(try recipients(("b", "https://example.org/canary"))[0].addressKey == one[0].addressKey)
        #expect(try recipients(("a", "https://example.org/other"))[0].addressKey != one[0].addressKey)
        #expect(try recipients(("a", "https://u:p@example.org/canary"))[0].addressKey != one[0].addressKey)
        #expect(!one[0].addressKey.contains("canary") && !one[0].addressKey.contains("example"))
        let twins = try recipients(("a", "https://example.org/canary"), ("b", "https://example.org/canary"))
        #expect(twins[0].addressKey == one[0].addressKey && twins[1].addressKey != one[0].addressKey)
    }
}
