public import Logging
import Synchronization
import Vitals

/// Rows that the database holds and this program cannot read as they are: made by hand, by another program, or by a version to come.
///
/// Such a row costs itself and nothing beside it. Each is told of once.
public final class UnreadableRows: Sendable {
    private let told = Mutex(ToldOnce(limit: UnreadableRows.limit))
    private let logger: Logger

    /// Rows that are told of. A table full of them is one line more, and then silence.
    static let limit = 1_000

    public init(logger: Logger = Logger(label: "rows")) {
        self.logger = logger
    }

    /// - Parameter consequence: what comes of it: `it is left out`.
    func tell(of row: Row, in table: String, _ error: any Error, _ consequence: String) {
        let answer = told.withLock { $0.answer(to: "\(table) \(row.name)") }
        guard answer != .beSilent else { return }
        let reason = if case PostgresError.decoding(let column, let reason) = error { "column \"\(column)\" \(reason)" } else { "\(error)" }
        logger.warning(
            "a row cannot be read", metadata: ["table": "\(table)", "row": "\(row.name)", "reason": "\(reason)", "consequence": "\(consequence)"])
        if answer == .tellAsLast { logger.warning("too many rows cannot be read: the next ones are not told of", metadata: ["rows": "\(Self.limit)"]) }
    }
}

extension Row {
    /// What a person finds it by.
    fileprivate var name: String {
        for columns in [["id"], ["ticker", "snapshot_date"]] {
            let values = columns.compactMap { column in (try? optionalString(column)) ?? nil }
            if values.count == columns.count { return values.joined(separator: " ") }
        }
        return "without a name"
    }
}

extension Rows {
    /// Those that can be read. The others are left out, and told of.
    func readable<Value>(of table: String, _ unreadable: UnreadableRows, _ read: (Row) throws(PostgresError) -> Value) -> [Value] {
        compactMap { row in
            do throws(PostgresError) {
                return try read(row)
            } catch {
                unreadable.tell(of: row, in: table, error, "it is left out of lists")
                return nil
            }
        }
    }
}
