/// What an error of PostgreSQL means for whoever gets it. What is answered, what is tried again, which connection goes and what a watcher says
/// all follow from this one table.
///
/// Source: PostgreSQL 15, appendix A, every class of it; 25P04 is of version 17.
public enum SQLState {
    public enum Meaning: String, Sendable, Hashable, CaseIterable {
        /// The server goes away, or has ended this session. Another connection may serve.
        case away
        /// Not with this role, this password, this database, or without a privilege: somebody has to grant it.
        case denied
        /// The server lacks what it needs: connections, memory, disk.
        case full
        /// The server gave the statement up, for the time it took or for a lock it did not get. It has no effect; later it may have.
        case busy
        /// The transaction was undone because of another one. It has no effect, and may be run again at once.
        case conflict
        /// The server takes no writes, or the transaction was begun without them.
        case readOnly
        /// A table, a column, a function or a schema is missing: the database lacks a migration.
        case schema
        /// A prepared statement does not fit its tables any more, or is gone: it is to be parsed anew.
        case stalePlan
        /// The data would contradict a rule of the database.
        case constraint
        /// A text that the database cannot hold.
        case text
        /// The statement is wrong, or what it computes. Another try would end the same way.
        case statement
    }

    /// A class or a code that is not in the table is the statement's fault, as most are.
    public static func meaning(of sqlState: String) -> Meaning {
        codes[sqlState] ?? classes[String(sqlState.prefix(2))] ?? .statement
    }

    /// Whether what failed so may have taken effect all the same: the session ended, perhaps after the commit, or the machine or the server itself
    /// was in trouble, and nobody can tell at which moment.
    static func leavesOutcomeOpen(_ sqlState: String) -> Bool {
        meaning(of: sqlState) == .away || ["58", "XX"].contains(sqlState.prefix(2))
    }

    static let classes: [String: Meaning] = [
        "00": .statement,  // successful completion: no error has it
        "01": .statement,  // warning
        "02": .statement,  // no data
        "03": .statement,  // SQL statement not yet complete
        "08": .away,  // connection exception
        "09": .statement,  // triggered action exception
        "0A": .stalePlan,  // feature not supported: of our statements the only one is a plan whose table changed
        "0B": .statement,  // invalid transaction initiation
        "0F": .statement,  // locator exception
        "0L": .denied,  // invalid grantor
        "0P": .denied,  // invalid role specification
        "0Z": .statement,  // diagnostics exception
        "20": .statement,  // case not found
        "21": .statement,  // cardinality violation
        "22": .statement,  // data exception
        "23": .constraint,  // integrity constraint violation
        "24": .statement,  // invalid cursor state
        "25": .statement,  // invalid transaction state
        "26": .stalePlan,  // invalid SQL statement name
        "27": .constraint,  // triggered data change violation
        "28": .denied,  // invalid authorization specification
        "2B": .statement,  // dependent privilege descriptors still exist
        "2D": .statement,  // invalid transaction termination
        "2F": .statement,  // SQL routine exception
        "34": .statement,  // invalid cursor name
        "38": .statement,  // external routine exception
        "39": .statement,  // external routine invocation exception
        "3B": .statement,  // savepoint exception
        "3D": .denied,  // invalid catalog name: no such database
        "3F": .schema,  // invalid schema name
        "40": .conflict,  // transaction rollback
        "42": .statement,  // syntax error or access rule violation
        "44": .constraint,  // WITH CHECK OPTION violation
        "53": .full,  // insufficient resources
        "54": .statement,  // program limit exceeded
        "55": .statement,  // object not in prerequisite state
        "57": .away,  // operator intervention
        "58": .full,  // system error: the machine's, such as a disk that cannot be read
        "72": .conflict,  // snapshot too old
        "F0": .statement,  // configuration file error
        "HV": .statement,  // foreign data wrapper error
        "P0": .statement,  // PL/pgSQL error
        "XX": .statement,  // internal error
    ]

    /// Codes that mean something else than the rest of their class.
    static let codes: [String: Meaning] = [
        "22021": .text,  // character not in repertoire: NUL in a text
        "22P05": .text,  // untranslatable character: NUL as an escape in a JSON document
        "25006": .readOnly,  // read-only SQL transaction
        "25P03": .away,  // idle-in-transaction session timeout
        "25P04": .away,  // transaction timeout, which ends the session
        "40002": .constraint,  // transaction integrity constraint violation
        "40003": .away,  // statement completion unknown: it may have taken effect
        "42501": .denied,  // insufficient privilege
        "42P01": .schema,  // undefined table
        "42703": .schema,  // undefined column
        "42704": .schema,  // undefined object, such as a type
        "42883": .schema,  // undefined function
        "55006": .busy,  // object in use
        "55P03": .busy,  // lock not available: lock_timeout, or NOWAIT
        "57014": .busy,  // query canceled: statement_timeout, or somebody at the server
        "HV00N": .full,  // the foreign server cannot be reached
    ]
}

extension ServerError {
    public var meaning: SQLState.Meaning { SQLState.meaning(of: sqlState) }

    /// The connection itself is of no further use.
    public var condemnsConnection: Bool { meaning == .away }

    var leavesOutcomeOpen: Bool { SQLState.leavesOutcomeOpen(sqlState) }
}

extension PostgresError {
    /// The server refused the statement; what for. Nil for whatever the server has not said about a statement.
    public var meaning: SQLState.Meaning? { if case .server(let error) = self { error.meaning } else { nil } }
}
