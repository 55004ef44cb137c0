import Glibc
import Testing
import Vitals

@testable import Probes

@Suite struct `Metrics catalogue` {
    @Test func `every metric is defined once, with help that is a sentence`() {
        #expect(Set(Catalogue.definitions.map(\.name)).count == Catalogue.definitions.count)
        for definition in Catalogue.definitions {
            #expect(definition.help.hasSuffix("."), "\(definition.name)")
            #expect(definition.help.count > 10 || definition.help == "maxclients.", "\(definition.name)")
            #expect(definition.name.hasPrefix("healthd_") || definition.name.hasPrefix("process_"))
            #expect(definition.name.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "_") })
            #expect(definition.labels.allSatisfy { $0 != "le" && $0 != "quantile" && !$0.hasPrefix("__") })
        }
    }

    @Test(arguments: Catalogue.definitions.filter { $0.kind == .histogram })
    func `a histogram is in seconds`(definition: MetricDefinition) {
        #expect(definition.unit == "seconds")
    }

    @Test func `promtool finds nothing to say about any of them`() throws {
        let promtool = "/usr/bin/promtool"
        try #require(access(promtool, X_OK) == 0, "\(promtool) is missing: it is in the package prometheus, which scripts/test installs")
        let text = PrometheusText.render(Catalogue.definitions.map(filled))
        var path = Array("/tmp/healthd-catalogue-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        try #require(descriptor >= 0)
        defer {
            close(descriptor)
            unlink(path)
        }
        try #require(write(descriptor, text, text.count) == text.count)
        let name = String(decoding: path.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        let pipe = try #require(popen("\(promtool) check metrics < \(name) 2>&1", "r"))
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 { output += chunk[..<count] }
        let status = pclose(pipe)
        #expect(String(decoding: output, as: UTF8.self) == "")
        #expect(status == 0)
    }

    private func filled(_ definition: MetricDefinition) -> MetricFamily {
        var family = MetricFamily(definition)
        let value: MetricFamily.Value =
            definition.kind == .histogram
            ? .histogram(HistogramSnapshot(bounds: Histogram.latencyBounds, counts: [Int](repeating: 1, count: 16), sum: 3))
            : .integer(1)
        family.samples = [.init(labels: definition.labels.map { _ in "x" }, value: value)]
        return family
    }
}
