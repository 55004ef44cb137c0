import Probes
import Testing

@Suite struct `A rule` {
    @Test(arguments: [
        (Unit.ratio, 1.5, "150 %"), (.ratio, 0.856, "85.6 %"), (.seconds, 0.25, "250 ms"), (.number, 3, "3"),
        (.bytes, 3_500_000, "3.3 MiB"),
    ])
    func `writes values with their unit`(_ unit: Probes.Unit, _ value: Double, _ text: String) {
        #expect(unit.text(value) == text)
    }
}
