import Logging
import Synchronization
import Vitals

/// What the server says besides its answers: `WARNING: there is no transaction in progress`.
struct ServerNotice: Sendable, Hashable {
    /// Never translated: `WARNING`, `NOTICE`, `INFO`, `LOG` or `DEBUG`.
    var severity: String
    var sqlState: String
    var message: String
}

/// Puts notices into the log, each text once, from whichever connection it comes.
final class NoticeLog: Sendable {
    private let told = Mutex(ToldOnce(limit: NoticeLog.limit))
    private let logger: Logger

    /// A function may make up ever new texts.
    static let limit = 200

    init(_ logger: Logger) {
        self.logger = logger
    }

    func log(_ notices: [ServerNotice]) {
        for notice in notices {
            let answer = told.withLock { $0.answer(to: Self.text(of: notice)) }
            guard answer != .beSilent else { continue }
            let level: Logger.Level = notice.severity == "WARNING" ? .warning : .info
            logger.log(level: level, "notice from the database", metadata: ["notice": "\(notice.message)", "sqlstate": "\(notice.sqlState)"])
            if answer == .tellAsLast { logger.warning("further notices from the database are not logged", metadata: ["logged": "\(Self.limit)"]) }
        }
    }

    /// What is the same in notices that differ in their numbers alone.
    private static func text(of notice: ServerNotice) -> String {
        notice.sqlState + String(notice.message.map { $0.isNumber ? "0" : $0 })
    }
}
