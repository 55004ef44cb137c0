/// What of a lease would still be there for the next one, as far as statements show it. The rule, also in docs/POOL.md:
///
/// A session is restored after a statement that
/// - the server answers as SET (but LOCAL and TRANSACTION), RESET, LISTEN, PREPARE, DEALLOCATE, DISCARD ALL, DO, or a cursor WITH HOLD;
/// - makes something TEMP or TEMPORARY, or names `pg_temp`;
/// - names one of PostgreSQL's own functions that leave something in the session (`functions`). `set_config` with the word `true` at its
///   end is none: what it sets ends with its transaction;
/// - was given up before it was answered, unless it began as SELECT, INSERT, UPDATE, DELETE, VALUES, TABLE, WITH, BEGIN, COMMIT, ROLLBACK or
///   SAVEPOINT.
///
/// A connection is replaced after what DISCARD ALL leaves as it is: LOAD, and the functions of `lastingFunctions`.
///
/// Not seen is what a function, trigger, rule or default of one's own does, nor SQL that is passed to a function as a string: the caller says so with
/// `Lease.changesSession()`. Rather once too often than once too little: an error here costs the pool two round trips, nobody an answer.
///
/// Source: PostgreSQL 15, chapters 9 and 55.7 (CommandComplete), DISCARD, and `src/include/tcop/cmdtaglist.h`.
enum SessionChange: Comparable {
    case none
    /// DISCARD ALL undoes it.
    case session
    /// Nothing undoes it.
    case connection

    // MARK: What the server answers

    /// - Parameters:
    ///   - tag: without row counts it is the command's name.
    ///   - text: the one statement it belongs to; nil when several stand in one text, and then the answer is the careful one.
    static func shown(by tag: String, of text: String?) -> SessionChange {
        switch tag {
        case "SET":
            guard let text else { return .session }
            let second = names(text, 2).last
            return second == "local" || second == "transaction" ? .none : .session
        case "RESET", "LISTEN", "PREPARE", "DEALLOCATE", "DEALLOCATE ALL", "DISCARD ALL", "DO": return .session
        case "DECLARE CURSOR": return text.map { names($0, 12).contains("hold") } ?? true ? .session : .none
        case "LOAD": return .connection
        default: return .none
        }
    }

    static func dropsNames(_ tag: String) -> Bool { tag == "DEALLOCATE ALL" || tag == "DISCARD ALL" }

    private static func names(_ text: String, _ count: Int) -> [String] {
        Array(SQLTokens(text).lazy.compactMap(\.name).prefix(count))
    }

    // MARK: What the text says

    /// Known before the statement is sent, so it holds for one that is given up as well. `text` may be several statements.
    static func named(in text: String) -> SessionChange {
        var change = SessionChange.none
        var first: String?
        var before: String?
        var tokens = SQLTokens(text)
        while let token = tokens.next() {
            if token == .symbol(UInt8(ascii: ";")) { (first, before) = (nil, nil) }
            guard let name = token.name else { continue }
            first = first ?? name
            if isEscaped(token) || isTemporary(name, after: before, in: first) || functions.contains(name) || families.contains(where: name.hasPrefix) {
                change = max(change, .session)
            } else if lastingFunctions.contains(name) || lastingFamilies.contains(where: name.hasPrefix) {
                return .connection
            } else if name == "set_config" {
                // Looked at from here on a copy: what stands in its parentheses is looked at as well.
                var arguments = tokens
                if !endsWithTrue(&arguments) { change = max(change, .session) }
            }
            before = name
        }
        return change
    }

    /// `U&"…"` may be any name.
    private static func isEscaped(_ token: SQLTokens.Token) -> Bool {
        if case .quotedName(let bytes) = token { bytes.first != UInt8(ascii: "\"") } else { false }
    }

    private static func isTemporary(_ name: String, after before: String?, in first: String?) -> Bool {
        if name == "pg_temp" || name.hasPrefix("pg_temp_") { return true }
        guard name == "temp" || name == "temporary" else { return false }
        switch before {
        case "create", "replace", "local", "global": return true
        // SELECT … INTO TEMP t; INSERT has a table of that name.
        case "into": return first != "insert"
        default: return false
        }
    }

    /// Whether the parentheses that come now end in the word `true`.
    private static func endsWithTrue(_ tokens: inout SQLTokens) -> Bool {
        var depth = 0
        var last: (before: SQLTokens.Token?, token: SQLTokens.Token?) = (nil, nil)
        while let token = tokens.next() {
            switch token {
            case .blank: continue
            case .symbol(UInt8(ascii: "(")): depth += 1
            case .symbol(UInt8(ascii: ")")):
                depth -= 1
                guard depth == 0 else { break }
                // After a comma, or the arrow of `is_local => true`.
                let isWhole = last.before == .symbol(UInt8(ascii: ",")) || last.before == .symbol(UInt8(ascii: ">"))
                return isWhole && isTrue(last.token)
            default: if depth == 0 { return false }
            }
            last = (last.token, token)
        }
        return false
    }

    private static func isTrue(_ token: SQLTokens.Token?) -> Bool {
        if case .word = token { token?.name == "true" } else { false }
    }

    /// PostgreSQL's functions that leave something in the session. Sections 9.17 (sequences), 9.27.1 (settings) and 9.27.10 (locks).
    private static let functions: Set<String> = [
        "nextval", "setval", "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared", "set_limit",
    ]
    /// Statements that are handed to a function: they may be any.
    private static let families = ["query_to_xml"]

    /// A backup, and a slot that was made as a temporary one, last as long as the session. Section 9.27.3 and 9.27.6.
    private static let lastingFunctions: Set<String> = [
        "setseed", "pg_replication_origin_session_setup", "pg_backup_start", "pg_start_backup", "pg_create_physical_replication_slot",
        "pg_create_logical_replication_slot", "pg_copy_physical_replication_slot", "pg_copy_logical_replication_slot",
    ]
    private static let lastingFamilies = ["dblink_connect"]
}
