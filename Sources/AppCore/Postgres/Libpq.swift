// The only file that imports libpq: what its pointers are and who frees them is said here and nowhere else.
import CLibpq
import Glibc
import Synchronization

/// Versions of the C libraries in this process, as they name them.
public enum LibraryVersions {
    /// `15.18`
    public static var libpq: String {
        let version = PQlibVersion()
        return "\(version / 10_000).\(version % 10_000)"
    }
}

/// A keyword libpq knows, as the library that is loaded names it: a newer one brings more.
public struct LibpqOption: Sendable, Hashable {
    public var keyword: String
    /// The environment variable that stands for it.
    public var variable: String?
    /// Its value is not to be shown.
    public var isSecret: Bool

    public static let all: [LibpqOption] = {
        // Of an empty text it answers all keywords and no values, and looks at no environment and no file.
        guard let list = PQconninfoParse("", nil) else { return [] }
        defer { PQconninfoFree(list) }
        return sequence(first: list, next: { $0 + 1 }).prefix { $0.pointee.keyword != nil }.map { LibpqOption($0.pointee) }
    }()

    private init(_ option: PQconninfoOption) {
        keyword = String(cString: option.keyword)
        variable = option.envvar.map { String(cString: $0) }
        // How libpq wants it shown: as stars.
        isSecret = option.dispchar.map { String(cString: $0) == "*" } ?? false
    }
}

/// Owner of one `PGconn`.
///
/// Unchecked: libpq allows one thread at a time in a connection; every use is under the lock of its owner, a `Handshake` and then a
/// `PostgresConnection`.
final class LibpqConnection: @unchecked Sendable {
    enum ConnectStep { case reading, writing, established, failed }
    enum FlushResult { case done, wouldBlock, failed }
    enum TransactionStatus { case idle, active, inTransaction, inError, unknown }

    private let connection: OpaquePointer
    private let notices = LibpqNotices()

    /// Begins to connect, without blocking as long as no host name is among the keywords (`hostaddr` or a socket folder only).
    ///
    /// Nil only when memory is exhausted; other failures show in `connectStep`.
    init?(startingWith keywords: [(String, String)]) {
        let names = keywords.map { strdup($0.0) } + [nil]
        let values = keywords.map { strdup($0.1) } + [nil]
        defer { (names + values).forEach { free($0) } }
        let started = names.map { UnsafePointer($0) }.withUnsafeBufferPointer { names in
            values.map { UnsafePointer($0) }.withUnsafeBufferPointer { values in
                PQconnectStartParams(names.baseAddress, values.baseAddress, 0)
            }
        }
        guard let started else { return nil }
        connection = started
        // Else notices would go to standard error. The receiver is called by whoever uses the connection, and not after PQfinish.
        PQsetNoticeReceiver(
            started,
            { notices, notice in
                if let notices { Unmanaged<LibpqNotices>.fromOpaque(notices).takeUnretainedValue().add(notice) }
            }, Unmanaged.passUnretained(notices).toOpaque())
        // libpq keeps no SQLSTATE of a refused connection; so told, it writes it into the message.
        PQsetErrorVerbosity(started, PQERRORS_VERBOSE)
    }

    deinit {
        PQfinish(connection)
    }

    var hasFailed: Bool { PQstatus(connection) == CONNECTION_BAD }
    var socket: Int32 { PQsocket(connection) }
    /// After a failure: the server asked for a password, and there was none.
    var needsPassword: Bool { PQconnectionNeedsPassword(connection) == 1 }
    var backendPID: Int32 { PQbackendPID(connection) }

    /// The server's last complaint on one line; never empty.
    var errorMessage: String {
        let lines = String(cString: PQerrorMessage(connection)).split(whereSeparator: \.isNewline)
        return lines.isEmpty ? "it broke off, and libpq gives no reason" : lines.map { $0.drop { $0.isWhitespace } }.joined(separator: "; ")
    }

    /// Why there is no connection. Only until it stands.
    var connectFailure: ConnectFailure { ConnectFailure(report: String(cString: PQerrorMessage(connection))) }

    func connectStep() -> ConnectStep {
        switch PQconnectPoll(connection) {
        case PGRES_POLLING_READING: .reading
        case PGRES_POLLING_WRITING: .writing
        case PGRES_POLLING_OK: established()
        default: .failed
        }
    }

    private func established() -> ConnectStep {
        PQsetErrorVerbosity(connection, PQERRORS_DEFAULT)
        return .established
    }

    func becomeNonBlocking() { PQsetnonblocking(connection, 1) }

    /// The element of the host list that libpq is busy with: its name or socket folder, its address when known, its port.
    var currentHost: HostEntry {
        func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String? { pointer.map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 } }
        return HostEntry(host: text(PQhost(connection)), address: text(PQhostaddr(connection)), port: text(PQport(connection)))
    }

    /// A setting the server reports as `on` or `off`; nil when it does not report it. Makes no String: this is asked at every statement.
    func isOn(_ name: String) -> Bool? {
        PQparameterStatus(connection, name).map { $0[0] == CChar(UInt8(ascii: "o")) && $0[1] == CChar(UInt8(ascii: "n")) }
    }

    var transactionStatus: TransactionStatus {
        switch PQtransactionStatus(connection) {
        case PQTRANS_IDLE: .idle
        case PQTRANS_ACTIVE: .active
        case PQTRANS_INTRANS: .inTransaction
        case PQTRANS_INERROR: .inError
        default: .unknown
        }
    }

    func cancelHandle() -> LibpqCancel? {
        PQgetCancel(connection).map { LibpqCancel(owning: $0) }
    }

    // MARK: Sending

    func sendScript(_ text: String) -> Bool { PQsendQuery(connection, text) == 1 }

    func sendPrepare(name: String, _ text: String) -> Bool { PQsendPrepare(connection, name, text, 0, nil) == 1 }

    func sendQuery(_ text: String, _ parameters: [String?]) -> Bool {
        withCStrings(parameters) { PQsendQueryParams(connection, text, Int32(parameters.count), nil, $0, nil, nil, 0) == 1 }
    }

    func sendPrepared(name: String, _ parameters: [String?]) -> Bool {
        withCStrings(parameters) { PQsendQueryPrepared(connection, name, Int32(parameters.count), $0, nil, nil, 0) == 1 }
    }

    // MARK: Pipeline mode. Entering and leaving it costs no round trip.

    func enterPipeline() -> Bool { PQenterPipelineMode(connection) == 1 }

    func leavePipeline() -> Bool { PQexitPipelineMode(connection) == 1 }

    /// Ends the batch: what stands before it is one implicit transaction, and the server answers up to here.
    func sync() -> Bool { PQpipelineSync(connection) == 1 }

    func flush() -> FlushResult {
        switch PQflush(connection) {
        case 0: .done
        case 1: .wouldBlock
        default: .failed
        }
    }

    // MARK: Receiving

    func consumeInput() -> Bool { PQconsumeInput(connection) == 1 }

    var isBusy: Bool { PQisBusy(connection) == 1 }

    func nextResult() -> LibpqResult? {
        PQgetResult(connection).map { LibpqResult(owning: $0) }
    }

    /// Ends a COPY … FROM STDIN; the server then answers with an error, which carries `reason`.
    func endCopyIn(_ reason: String) -> Bool { PQputCopyEnd(connection, reason) == 1 }

    enum CopyRest { case over, toCome, failed }

    /// Throws away what has come of a COPY … TO STDOUT so far.
    func discardCopyOut() -> CopyRest {
        while true {
            var row: UnsafeMutablePointer<CChar>?
            let length = PQgetCopyData(connection, &row, 1)
            PQfreemem(row)
            switch length {
            case 1...: continue
            case 0: return .toCome
            case -1: return .over
            default: return .failed
            }
        }
    }

    /// Notices of the server since this was last asked; at most `LibpqNotices.limit`.
    func takeNotices() -> [ServerNotice] { notices.take() }

    func discardNotifications() {
        while let notification = PQnotifies(connection) { PQfreemem(notification) }
    }
}

/// Owner of one `PGresult`.
///
/// Unchecked: libpq never changes a result after PQgetResult returned it, and it is freed only with the last reference.
final class LibpqResult: @unchecked Sendable {
    enum Kind {
        case command, tuples, error, empty
        /// The statement streams rows. It says so again and again until it is ended.
        case copy(Copy)
        case unsupported
        /// In a pipeline: not run, because a statement before it failed.
        case skipped
        /// In a pipeline: all that was sent has been answered.
        case synced
    }

    private let result: OpaquePointer

    fileprivate init(owning result: OpaquePointer) {
        self.result = result
    }

    deinit {
        PQclear(result)
    }

    var kind: Kind {
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK: .command
        case PGRES_TUPLES_OK: .tuples
        case PGRES_EMPTY_QUERY: .empty
        case PGRES_PIPELINE_ABORTED: .skipped
        case PGRES_PIPELINE_SYNC: .synced
        case PGRES_COPY_IN: .copy(.in)
        case PGRES_COPY_OUT: .copy(.out)
        case PGRES_COPY_BOTH: .copy(.both)
        case PGRES_FATAL_ERROR, PGRES_NONFATAL_ERROR, PGRES_BAD_RESPONSE: .error
        default: .unsupported
        }
    }

    var rowCount: Int { Int(PQntuples(result)) }

    /// What the server did, in its words: `SET`, `INSERT 0 1`, `CREATE TABLE`.
    var commandTag: String { String(cString: PQcmdStatus(result)) }

    var affectedRows: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

    func column(named name: String) -> Int32? {
        // PQfnumber folds case unless quoted; our column names are lower case.
        let number = PQfnumber(result, name)
        return number >= 0 ? number : nil
    }

    enum Field {
        case null
        case text(String)
        case notUTF8
    }

    func text(row: Int, column: Int32) -> Field {
        withBytes(row: row, column: column) { bytes -> Field in
            guard let text = String(validating: bytes, as: UTF8.self) else { return .notUTF8 }
            return .text(text)
        } ?? .null
    }

    /// Lends the value where libpq has it; nil when it is NULL.
    func withBytes<Result>(row: Int, column: Int32, _ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result? {
        guard PQgetisnull(result, Int32(row), column) == 0, let bytes = PQgetvalue(result, Int32(row), column) else { return nil }
        let length = Int(PQgetlength(result, Int32(row), column))
        return bytes.withMemoryRebound(to: UInt8.self, capacity: length) { body(UnsafeBufferPointer(start: $0, count: length)) }
    }

    var serverError: ServerError { ServerError(result) }
}

extension ServerError {
    fileprivate init(_ result: OpaquePointer?) {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
        }
        let sqlState = field("C") ?? ""
        let message = field("M") ?? String(cString: PQresultErrorMessage(result))
        let position = field("P")
        self.init(
            sqlState: sqlState,
            severity: field("V") ?? field("S") ?? "ERROR",
            message: QuotedValues.left(outOf: message, sqlState: sqlState, position: position),
            hint: field("H"), table: field("t"), constraint: field("n"))
        // Only who reads the text knows a place in it. The other is PostgreSQL's own function for plans that are kept, since 9.2.
        isOfPlan = position != nil || field("R") == "RevalidateCachedQuery"
    }
}

/// Where libpq puts notices until somebody takes them. Used as the connection is: by one thread at a time.
private final class LibpqNotices {
    private var kept: [ServerNotice] = []

    /// A function may make a million of them in one statement.
    static let limit = 32

    func add(_ notice: OpaquePointer?) {
        guard kept.count < Self.limit else { return }
        let fields = ServerError(notice)
        kept.append(ServerNotice(severity: fields.severity, sqlState: fields.sqlState, message: fields.message))
    }

    func take() -> [ServerNotice] {
        guard !kept.isEmpty else { return [] }
        defer { kept = [] }
        return kept
    }
}

/// Cancels the statement a connection runs. Blocks, without a limit of its own: for a thread apart.
///
/// Unchecked: PQcancel is documented as safe from any thread; the handle is freed only with the last reference.
final class LibpqCancel: @unchecked Sendable {
    private let handle: OpaquePointer

    fileprivate init(owning handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        PQfreeCancel(handle)
    }

    /// Nil when the request was delivered, else why not.
    func request() -> String? {
        var reason = [CChar](repeating: 0, count: 256)
        guard PQcancel(handle, &reason, Int32(reason.count)) == 1 else {
            return String(decoding: reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        return nil
    }
}

/// Lends the parameters as C strings laid out in one block, made once however many there are.
private func withCStrings<Result>(
    _ parameters: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Result
) -> Result {
    guard !parameters.isEmpty else { return body(nil) }
    var bytes: [CChar] = []
    bytes.reserveCapacity(parameters.reduce(0) { $0 + ($1?.utf8.count ?? 0) + 1 })
    var offsets: [Int?] = []
    offsets.reserveCapacity(parameters.count)
    for parameter in parameters {
        guard let parameter else {
            offsets.append(nil)
            continue
        }
        offsets.append(bytes.count)
        bytes.append(contentsOf: parameter.utf8.lazy.map { CChar(bitPattern: $0) })
        bytes.append(0)
    }
    return bytes.withUnsafeBufferPointer { block in
        let pointers = offsets.map { offset in offset.flatMap { offset in block.baseAddress.map { $0 + offset } } }
        return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}
