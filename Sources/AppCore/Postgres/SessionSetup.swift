import Synchronization
import Vitals

/// How every session of ours begins: rows carry times as UTC, in ISO form, doubles digit for digit, and a backslash in a plain literal is one,
/// whatever the settings of the server, the database and the role.
enum SessionSetup {
    /// A database without an encoding keeps bytes, and PostgreSQL fails the whole answer for one of them that is no UTF-8. There we take the
    /// bytes as they are, and look at each value ourselves.
    ///
    /// `extra_float_digits` below 1 rounds doubles; before version 12 the most is 3, and since then any number above 0 means all. It is set only
    /// where it is below: a pooler does not know of it, and would lend the session so to others.
    static let settings = """
        SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET standard_conforming_strings = on; \
        SELECT set_config('client_encoding', 'SQL_ASCII', false) WHERE current_setting('server_encoding') = 'SQL_ASCII'; \
        SELECT set_config('extra_float_digits', '3', false) WHERE current_setting('extra_float_digits')::int < 1
        """

    /// The settings and the questions in one text, so in one round trip. A pooler keeps the first three and the encoding for us: the server
    /// reports them as parameters, and PgBouncer puts them back on whichever server connection it lends.
    static func script(withSystem: Bool) -> String {
        let system = withSystem ? "(SELECT system_identifier::text FROM pg_control_system())" : "NULL"
        return settings + """
            ; SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS in_recovery,
            current_setting('default_transaction_read_only') AS reads_only, \(system) AS system
            """
    }

    /// The server refused the one question that not everybody may ask or every server knows: permission, unknown function.
    ///
    /// To test for the privilege in the same statement would not help: it is checked for all functions of a statement before it runs.
    static func isRefusedQuestion(_ error: PostgresError) -> Bool {
        error.sqlState == "42501" || error.sqlState == "42883"
    }
}

extension PostgresConnection {
    /// Sets the session up and learns who serves it. One round trip; once more when the role may not ask for the system's identifier,
    /// which `memory` then keeps in mind.
    func setUp(_ prepared: PreparedStatements, memory: ConnectorMemory, until deadline: Deadline) async throws(PostgresError) {
        let rows: Rows
        let asks = memory.mayAskForSystem
        do throws(PostgresError) {
            rows = try await scriptRows(SessionSetup.script(withSystem: asks), until: deadline)
        } catch {
            guard asks, SessionSetup.isRefusedQuestion(error) else { throw error }
            memory.mayNotAskForSystem()
            return try await setUp(prepared, memory: memory, until: deadline)
        }
        guard let row = rows.first else { throw .connectFailed("the server said nothing about itself", sqlState: nil) }
        // A pooler, or a server that only speaks as PostgreSQL does, may number its sessions otherwise.
        let pid = Int32(exactly: try row.int("pid"))
        let isBehindPooler = pid != reportedPID
        let facts = ServerFacts(
            backendPID: isBehindPooler ? nil : pid, isInRecovery: try row.bool("in_recovery"),
            readsOnly: try row.string("reads_only") == "on", systemIdentifier: try row.optionalString("system"), isBehindPooler: isBehindPooler)
        begin(facts, StatementCache(namesStatements: prepared.areNamed(behindPooler: isBehindPooler), stale: memory.stale))
    }

    /// Puts a session that its caller changed back to how it began: two round trips, since DISCARD ALL must stand alone.
    ///
    /// What it leaves undone shows in `condition`.
    func restoreSession(until deadline: Deadline) async {
        do {
            try await script("DISCARD ALL", until: deadline)
            try await script(SessionSetup.settings, until: deadline)
        } catch {
            return
        }
        sessionIsRestored()
    }
}
