public import GRDB

extension Outbox {
    /// Alert states, notices, and a delivery for each notice and recipient.
    public static func registerMigrations(in migrator: inout DatabaseMigrator) {
        migrator.registerMigration("alerts-1") { database in
            try database.execute(
                sql: """
                    CREATE TABLE alert_states (
                        fingerprint TEXT PRIMARY KEY,
                        episode TEXT NOT NULL,
                        record TEXT NOT NULL
                    ) STRICT;
                    CREATE TABLE alert_notices (
                        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                        id TEXT NOT NULL UNIQUE,
                        fingerprint TEXT NOT NULL,
                        episode TEXT NOT NULL,
                        status TEXT NOT NULL,
                        notice TEXT NOT NULL,
                        created INTEGER NOT NULL
                    ) STRICT;
                    CREATE TABLE alert_deliveries (
                        notice INTEGER NOT NULL REFERENCES alert_notices(sequence) ON DELETE CASCADE,
                        receiver TEXT NOT NULL,
                        fingerprint TEXT NOT NULL,
                        episode TEXT NOT NULL,
                        state TEXT NOT NULL CHECK (state IN ('queued', 'delivered', 'dead', 'superseded')),
                        attempts INTEGER NOT NULL DEFAULT 0,
                        answer TEXT,
                        updated INTEGER NOT NULL,
                        PRIMARY KEY (notice, receiver)
                    ) STRICT;
                    CREATE INDEX alert_deliveries_queue ON alert_deliveries (receiver, fingerprint, notice) WHERE state = 'queued';
                    CREATE INDEX alert_deliveries_episode ON alert_deliveries (episode, receiver);
                    """)
        }
        // A recipient is known by its address. Rows of the version before have its name instead, until `reconcile` finds the address.
        migrator.registerMigration("alerts-2") { database in
            try database.execute(
                sql: """
                    CREATE TABLE alert_deliveries_2 (
                        notice INTEGER NOT NULL REFERENCES alert_notices(sequence) ON DELETE CASCADE,
                        address TEXT NOT NULL,
                        receiver TEXT NOT NULL,
                        fingerprint TEXT NOT NULL,
                        episode TEXT NOT NULL,
                        state TEXT NOT NULL CHECK (state IN ('queued', 'delivered', 'dead', 'superseded')),
                        refused INTEGER NOT NULL DEFAULT 0,
                        attempts INTEGER NOT NULL DEFAULT 0,
                        answer TEXT,
                        updated INTEGER NOT NULL,
                        PRIMARY KEY (notice, address)
                    ) STRICT;
                    INSERT INTO alert_deliveries_2 (notice, address, receiver, fingerprint, episode, state, attempts, answer, updated)
                        SELECT notice, 'name:' || receiver, receiver, fingerprint, episode, state, attempts, answer, updated FROM alert_deliveries;
                    DROP TABLE alert_deliveries;
                    ALTER TABLE alert_deliveries_2 RENAME TO alert_deliveries;
                    CREATE INDEX alert_deliveries_queue ON alert_deliveries (address, fingerprint, notice) WHERE state = 'queued';
                    CREATE INDEX alert_deliveries_episode ON alert_deliveries (episode, address);
                    CREATE INDEX alert_notices_episode ON alert_notices (episode);
                    """)
        }
    }
}
