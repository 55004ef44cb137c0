public import Vitals

/// How a database stands to the migrations of this program.
public struct MigrationStatus: Sendable, Hashable {
    public struct Applied: Sendable, Hashable {
        public var name: String
        public var checksum: String
        public var appliedAt: WallTime

        public init(name: String, checksum: String, appliedAt: WallTime) {
            self.name = name
            self.checksum = checksum
            self.appliedAt = appliedAt
        }
    }

    /// In order of their names.
    public var applied: [Applied]
    /// In the order in which they will be applied.
    public var pending: [Migration]
    /// Why nothing may be applied; nil when all is well.
    public var problem: SchemaError?

    public init(known: [Migration], applied: [Applied]) {
        self.applied = applied
        let byName = Dictionary(applied.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        pending = known.filter { byName[$0.name] == nil }
        problem = Self.problem(known: known, applied: applied, byName: byName)
    }

    private static func problem(known: [Migration], applied: [Applied], byName: [String: Applied]) -> SchemaError? {
        if let stranger = applied.first(where: { row in !known.contains { $0.name == row.name } }) { return .unknown(file: stranger.name) }
        for migration in known {
            guard let row = byName[migration.name] else {
                guard let later = applied.last, later.name > migration.name else { continue }
                return .outOfOrder(file: migration.name, after: later.name)
            }
            if row.checksum != migration.checksum {
                return .changed(file: migration.name, applied: row.checksum, present: migration.checksum)
            }
        }
        return nil
    }
}
