import Testing
import Vitals

@Suite("ToldOnce")
struct ToldOnceTests {
    @Test func `each text is told once, the last that there is room for as the last, and no other is even made`() {
        var told = ToldOnce(limit: 2)
        #expect(told.answer(to: "a") == .tell)
        #expect(told.answer(to: "a") == .beSilent)
        #expect(told.answer(to: "b") == .tellAsLast)
        #expect(told.answer(to: "b") == .beSilent)
        var isMade = false
        func made() -> String {
            isMade = true
            return "c"
        }
        #expect(told.answer(to: made()) == .beSilent && !isMade)
    }
}
