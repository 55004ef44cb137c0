import Testing
import Vitals

@Suite struct SHA256Tests {
    @Test(
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ])
    func `hashes as FIPS 180-4 does`(text: String, hash: String) {
        #expect(SHA256.hexadecimal(text) == hash)
    }

    /// RFC 4231, test cases 2, and 6 with a key longer than a block.
    @Test(
        arguments: [
            (Array("Jefe".utf8), "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                [UInt8](repeating: 0xAA, count: 131), "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ),
        ])
    func `authenticates as RFC 4231 does`(key: [UInt8], text: String, code: String) {
        #expect(SHA256.authenticationCode(for: text.utf8, key: key).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == code)
    }
}
