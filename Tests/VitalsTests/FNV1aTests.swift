import Testing
import Vitals

/// Source of the expected values: draft-eastlake-fnv, appendix C.
@Test(arguments: [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")])
func `FNV-1a is what everybody else computes`(_ text: String, _ expected: String) {
    #expect(FNV1a(text.utf8).text == expected)
}
