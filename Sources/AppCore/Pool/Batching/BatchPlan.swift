import Vitals

/// Which statements may share a round trip, and whether the batch that is being gathered has room for one more.
///
/// A text rides when it is a plain read that has run before and took little time. The durations are learned. A text that turns out to be slow
/// runs on a connection of its own until it is quick again; one that fails, until it has been quick for a while.
struct BatchPlan {
    /// What is known of one text.
    private struct Text {
        let isPlainRead: Bool
        /// Estimated seconds. A shorter run lowers it at once. A longer run in a batch raises it by an eighth of the difference; there a run counts
        /// as the batch's time divided by its statements.
        var takes: Double
        /// Quick runs on a connection of its own that are due before it may ride again.
        var probation = 0
        /// Larger than that of all texts used before it.
        var lastUse = 0
    }

    /// A text that takes longer runs alone: it would hold up the others more than a round trip of its own costs.
    static let slowest = 0.001
    /// All statements of one batch together, in seconds.
    static let budget = 0.002
    static let largest = 256
    /// Texts known at once. When there are more, the quarter of them that has been unused for longest is forgotten.
    static let texts = 1_024

    private var known: [String: Text] = [:]
    private var uses = 0
    /// Of the batch being gathered.
    private(set) var count = 0
    private var expected = 0.0

    /// Whether this statement joins the batch being gathered. If so it is counted.
    mutating func admits(_ sql: SQL) -> Bool {
        guard count < Self.largest, let index = known.index(forKey: sql.text) else { return false }
        let text = known.values[index]
        guard text.isPlainRead, text.probation == 0, text.takes <= Self.slowest, expected + text.takes <= Self.budget else { return false }
        use(index)
        count += 1
        expected += text.takes
        return true
    }

    /// So many of the gathered statements leave; the next batch begins with the rest.
    mutating func left(_ leaving: Int) {
        guard leaving < count else {
            count = 0
            expected = 0
            return
        }
        expected *= Double(count - leaving) / Double(count)
        count -= leaving
    }

    /// A statement ran on a connection of its own. That only ever lowers the estimate: load makes a run longer, never shorter.
    mutating func ranAlone(_ text: String, _ seconds: Double) {
        guard let index = known.index(forKey: text) else {
            if known.count >= Self.texts { forgetLeastUsed() }
            uses += 1
            known[text] = Text(isPlainRead: Self.isPlainRead(text), takes: seconds, lastUse: uses)
            return
        }
        use(index)
        let before = known.values[index]
        guard seconds < before.takes || before.probation > 0 else { return }
        known.values[index].takes = min(before.takes, seconds)
        if seconds <= Self.slowest { known.values[index].probation = max(0, before.probation - 1) }
    }

    private mutating func use(_ index: Dictionary<String, Text>.Index) {
        uses += 1
        known.values[index].lastUse = uses
    }

    /// Forgets many at once: a program whose texts never come again must not look through all of them for each new one.
    private mutating func forgetLeastUsed() {
        let oldest = known.values.map(\.lastUse).sorted()[Self.texts / 4]
        known = known.filter { $0.value.lastUse > oldest }
    }

    /// How many quick runs a text needs before it may ride again, after it broke or held up a batch.
    static let probation = 256

    /// A batch has been answered: each text took its share of the time. One that failed is on probation.
    mutating func ran(_ texts: [String], failedAt: Int?, each seconds: Double) {
        if let failedAt {
            if failedAt < texts.count { known[texts[failedAt]]?.probation = Self.probation }
            return
        }
        guard let first = texts.first else { return }
        if texts.allSatisfy({ $0 == first }) { return took(first, seconds) }
        for text in Set(texts) { took(text, seconds) }
    }

    private mutating func took(_ text: String, _ seconds: Double) {
        guard let index = known.index(forKey: text) else { return }
        let before = known.values[index].takes
        known.values[index].takes = seconds < before ? seconds : before + (seconds - before) / 8
    }

    /// Whether a text only reads: it begins with SELECT, VALUES or TABLE, locks no rows, and writes, waits or keeps no session state
    /// by a function of PostgreSQL's own. Words in literals and comments count, too: such a read runs alone, which is safe.
    static func isPlainRead(_ text: String) -> Bool {
        let words = text.lowercased().split { !($0.isLetter || $0.isNumber || $0 == "_") }
        guard let first = words.first, ["select", "values", "table"].contains(first), SessionChange.named(in: text) == .none else { return false }
        var locks = false
        for word in words {
            if effects.contains(String(word)) || familiesWithEffects.contains(where: word.hasPrefix) { return false }
            if word == "for" { locks = true }
            if locks && (word == "update" || word == "share") { return false }
        }
        return true
    }

    /// Functions and words by which a SELECT does more than read, beside those that `SessionChange` knows. Source: PostgreSQL 15, chapter 9,
    /// sections 9.17, 9.27 and 9.28.
    private static let effects: Set<String> = [
        "into", "currval", "lastval", "set_config", "loread", "lowrite", "pg_notify", "pg_sleep", "pg_sleep_for", "pg_sleep_until",
        "pg_cancel_backend", "pg_terminate_backend", "pg_reload_conf", "pg_rotate_logfile", "pg_log_backend_memory_contexts",
        "pg_switch_wal", "pg_promote", "pg_export_snapshot", "pg_import_system_collations", "pg_stat_clear_snapshot", "txid_current",
        "pg_current_xact_id", "pg_backend_pid", "gin_clean_pending_list",
    ]

    /// By the beginning of their names. Source: the same, and contrib/dblink.
    private static let familiesWithEffects = [
        "pg_advisory", "pg_try_advisory", "lo_", "dblink", "pg_stat_reset", "pg_replication_", "pg_create_", "pg_drop_", "pg_copy_", "pg_wal_",
        "pg_logical_", "pg_backup_", "pg_file_", "brin_",
    ]
}
