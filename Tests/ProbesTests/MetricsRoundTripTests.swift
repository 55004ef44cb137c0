import Testing
import Vitals

@testable import Probes

/// Reads the format back with a parser written from its grammar, not from the renderer.
@Suite struct `Metrics round trip` {
    static let gauge = MetricDefinition("app_value", .gauge, ["first", "second"], help: "Value.")
    static let wait = MetricDefinition("app_wait_seconds", .histogram, ["first"], help: "Wait.")

    @Test(arguments: ExpositionFormat.allCases, [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func `awkward labels and numbers come back as they went in`(format: ExpositionFormat, seed: UInt64) throws {
        var generator = SplitMix(state: seed)
        var family = MetricFamily(Self.gauge)
        var expected: [[[UInt8]]: UInt64] = [:]
        for _ in 0..<200 {
            let labels = [awkwardText(&generator), awkwardText(&generator)]
            let number = Double(bitPattern: generator.next())
            let key = labels.map { Array($0.utf8) }
            guard expected[key] == nil else { continue }
            expected[key] = number.isNaN ? Double.nan.bitPattern : number.bitPattern
            family.add(number, labels[0], labels[1])
        }
        let parsed = try parse(format.render([family]))
        #expect(parsed.count == expected.count)
        for sample in parsed {
            #expect(sample.name == "app_value")
            #expect(sample.labels.map(\.0) == ["first", "second"])
            let bits = sample.value.isNaN ? Double.nan.bitPattern : sample.value.bitPattern
            #expect(expected[sample.labels.map { Array($0.1.utf8) }] == bits)
        }
    }

    @Test(arguments: ExpositionFormat.allCases)
    func `a histogram's buckets are cumulative and end in its count`(format: ExpositionFormat) throws {
        let snapshot = HistogramSnapshot(bounds: Histogram.latencyBounds, counts: (0...15).map { $0 * $0 }, sum: 12.345)
        let parsed = try parse(format.render([MetricFamily(Self.wait, snapshot, "a\\")]))
        let buckets = parsed.filter { $0.name == "app_wait_seconds_bucket" }
        #expect(buckets.map { number($0.labels.last?.1 ?? "") } == Histogram.latencyBounds + [.infinity])
        #expect(zip(buckets, buckets.dropFirst()).allSatisfy { $0.value <= $1.value })
        #expect(buckets.last?.value == Double(snapshot.count))
        #expect(parsed.first { $0.name == "app_wait_seconds_count" }?.value == Double(snapshot.count))
        #expect(parsed.first { $0.name == "app_wait_seconds_sum" }?.value == 12.345)
    }

    private func awkwardText(_ generator: inout SplitMix) -> String {
        let pieces = [
            "\\", "\"", "\n", "\\n", "{", "}", ",", "=", " ", "#", "é", "🦊", "\r", "\t", "a", "le=\"1\"", "\u{301}", "<b>",
        ]
        return (0..<Int.random(in: 0...6, using: &generator)).map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
    }

    private struct ParsedSample {
        var name: String
        var labels: [(String, String)]
        var value: Double
    }

    private struct Unreadable: Error { var line: String }

    private func number(_ text: String) -> Double {
        switch text {
        case "+Inf": .infinity
        case "-Inf": -.infinity
        default: Double(text) ?? .nan
        }
    }

    private func parse(_ bytes: [UInt8]) throws -> [ParsedSample] {
        try bytes.split(separator: UInt8(ascii: "\n")).filter { $0.first != UInt8(ascii: "#") }.map { line in
            var rest = line[...]
            func fail() -> Unreadable { Unreadable(line: String(decoding: line, as: UTF8.self)) }
            func take(until stop: (UInt8) -> Bool) -> String {
                let word = rest.prefix { !stop($0) }
                rest = rest.dropFirst(word.count)
                return String(decoding: word, as: UTF8.self)
            }
            let name = take { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: " ") }
            var labels: [(String, String)] = []
            if rest.first == UInt8(ascii: "{") {
                repeat {
                    rest = rest.dropFirst()
                    let label = take { $0 == UInt8(ascii: "=") }
                    rest = rest.dropFirst(2)
                    var value: [UInt8] = []
                    while let byte = rest.popFirst(), byte != UInt8(ascii: "\"") {
                        guard byte == UInt8(ascii: "\\") else { value.append(byte); continue }
                        guard let escaped = rest.popFirst() else { throw fail() }
                        value.append(escaped == UInt8(ascii: "n") ? UInt8(ascii: "\n") : escaped)
                    }
                    labels.append((label, String(decoding: value, as: UTF8.self)))
                } while rest.first == UInt8(ascii: ",")
                guard rest.popFirst() == UInt8(ascii: "}") else { throw fail() }
            }
            guard rest.popFirst() == UInt8(ascii: " ") else { throw fail() }
            return ParsedSample(name: name, labels: labels, value: number(String(decoding: rest, as: UTF8.self)))
        }
    }
}

/// Same numbers for the same seed on every machine. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
