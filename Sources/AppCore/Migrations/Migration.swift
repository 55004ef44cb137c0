import CMigrations
import Vitals

/// One file of `migrations/`, as it was when this program was built.
public struct Migration: Sendable, Hashable {
    /// The file's name, `0001_core.sql`: its number is its place in the order.
    public let name: String
    public let text: String

    public init(name: String, text: String) {
        self.name = name
        self.text = text
    }

    /// SHA-256 of the file, in hexadecimal. Every byte counts, comments too: what was applied is what can be read.
    public var checksum: String { SHA256.hexadecimal(text) }

    /// The files of this program, in the order in which they are applied.
    public static let embedded: [Migration] = (0..<healthd_migrations_count()).map { index in
        let file = healthd_migration_at(index)
        return Migration(
            name: String(cString: file.name),
            text: String(decoding: UnsafeBufferPointer(start: file.text, count: file.length), as: UTF8.self))
    }

    /// Names after `CREATE TABLE`, to say which file a missing table comes from.
    var tables: [String] { names(after: ["create", "table"]) }

    /// Names after `CREATE INDEX`, which must be valid when all is done.
    var indexes: [String] { names(after: ["create", "index"]) + names(after: ["create", "unique", "index"]) }

    private func names(after keywords: [String]) -> [String] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count > keywords.count, zip(words, keywords).allSatisfy({ $0.lowercased() == $1 }) else { return nil }
            return words.dropFirst(keywords.count).first { !["if", "not", "exists", "concurrently"].contains($0.lowercased()) }.map { String($0) }
        }
    }
}
