import Testing
import Vitals

@testable import AppCore

/// Which statements may share a round trip, as a value.
@Suite("BatchPlan")
struct BatchPlanTests {
    @Test(arguments: [
        ("SELECT 1", true),
        ("  select * from t where id = $1", true),
        ("(SELECT 1) UNION (SELECT 2)", true),
        ("VALUES (1), (2)", true),
        ("TABLE t", true),
        ("SELECT substring(name FOR 3) FROM t", true),
        ("SELECT updated, share_count FROM t", true),
        // What a function of ours does is undone with the batch, or takes effect with it.
        ("SELECT record_effect($1)", true),
        // Writes.
        ("INSERT INTO t VALUES (1)", false),
        ("UPDATE t SET a = 1", false),
        ("DELETE FROM t", false),
        ("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", false),
        ("SELECT * INTO copy FROM t", false),
        ("CREATE TABLE t (a int)", false),
        ("EXPLAIN ANALYZE DELETE FROM t", false),
        ("CALL tidy_up()", false),
        // Locks rows.
        ("SELECT * FROM t FOR UPDATE", false),
        ("SELECT * FROM t FOR NO KEY UPDATE", false),
        ("SELECT * FROM t FOR SHARE", false),
        ("SELECT * FROM t FOR KEY SHARE SKIP LOCKED", false),
        ("SELECT * FROM t FOR /* a remark */ UPDATE", false),
        ("SELECT * FROM t FOR -- a remark\n UPDATE", false),
        // Belongs to the session, or outlives the transaction.
        ("BEGIN", false),
        ("SET search_path = other", false),
        ("LISTEN topic", false),
        ("SELECT set_config('search_path', 'other', false)", false),
        ("SELECT setseed(0.5)", false),
        ("SELECT nextval('numbers')", false),
        ("SELECT query_to_xml('DELETE FROM t', true, false, '')", false),
        ("SELECT lastval()", false),
        ("SELECT pg_advisory_lock(1)", false),
        ("SELECT PG_TRY_ADVISORY_XACT_LOCK(1)", false),
        ("SELECT pg_catalog.pg_notify('topic', 'text')", false),
        ("SELECT \"pg_notify\"('topic', 'text')", false),
        ("SELECT pg_terminate_backend(1)", false),
        ("SELECT pg_stat_reset()", false),
        ("SELECT pg_create_physical_replication_slot('s')", false),
        ("SELECT lo_create(0)", false),
        ("SELECT lowrite(1, 'x')", false),
        ("SELECT dblink_send_query('c', 'DELETE FROM t')", false),
        ("SELECT txid_current()", false),
        // Waits.
        ("SELECT pg_sleep(1)", false),
        ("SELECT pg_sleep_for('1 s')", false),
        ("", false),
    ])
    func `only what does nothing but read may ride`(text: String, rides: Bool) {
        #expect(BatchPlan.isPlainRead(text) == rides)
    }

    private func rides(_ text: String, _ plan: inout BatchPlan) -> Bool { plan.admits(SQL(unescaped: text)) }

    @Test func `a text rides when it has run before, and took little time`() {
        var plan = BatchPlan()
        #expect(!rides("SELECT 1", &plan))
        plan.ranAlone("SELECT 1", 0.005)
        #expect(!rides("SELECT 1", &plan))
        // A busy machine adds to a duration, so the least counts.
        plan.ranAlone("SELECT 1", 0.000_5)
        plan.ranAlone("SELECT 1", 0.005)
        #expect(rides("SELECT 1", &plan))
        plan.ranAlone("DELETE FROM t", 0.000_1)
        #expect(!rides("DELETE FROM t", &plan))
    }

    @Test func `a batch ends at the time it is expected to take, and at a number`() {
        var plan = BatchPlan()
        plan.ranAlone("SELECT 1", 0.000_9)
        plan.ranAlone("SELECT 2", 0.000_001)
        #expect(rides("SELECT 1", &plan))
        #expect(rides("SELECT 1", &plan))
        #expect(!rides("SELECT 1", &plan))
        plan.left(2)
        var admitted = 0
        for _ in 0..<400 where rides("SELECT 2", &plan) { admitted += 1 }
        #expect(admitted == BatchPlan.largest)
    }

    @Test func `those who stay keep their share of the time`() {
        var plan = BatchPlan()
        plan.ranAlone("SELECT 1", 0.000_5)
        for _ in 0..<4 { #expect(rides("SELECT 1", &plan)) }
        #expect(!rides("SELECT 1", &plan))
        plan.left(3)
        for _ in 0..<3 { #expect(rides("SELECT 1", &plan)) }
        #expect(!rides("SELECT 1", &plan))
    }

    @Test(arguments: [
        // Alone on the way: whoever is there leaves, many in two groups.
        (limit: 2, waiting: 1, before: [Int](), leaves: Int?.some(1)),
        (2, 7, [], 7),
        (2, 8, [], 4),
        (2, 21, [], 11),
        (1, 200, [], 200),
        (2, 0, [], nil),
        // Beside another: a group that is worth it, and not a small one beside a large one.
        (2, 3, [4], nil),
        (2, 4, [4], 4),
        (2, 49, [100], nil),
        (2, 50, [100], 50),
        (2, 90, [8, 8], nil),
        (1, 90, [8], nil),
    ])
    func `a batch leaves when a lane is free and the group is worth a round trip`(row: (limit: Int, waiting: Int, before: [Int], leaves: Int?)) {
        var lanes = BatchLanes(limit: row.limit)
        for (number, size) in row.before.enumerated() {
            // A group of this size leaves: with all lanes free it is the half of twice as many.
            let waiting = number == 0 && row.limit > 1 && size >= BatchLanes.least ? size * 2 : size
            #expect(lanes.leave(waiting) == size)
        }
        #expect(lanes.mayLeave(row.waiting) == (row.leaves != nil))
        if let leaves = row.leaves { #expect(lanes.leave(row.waiting) == leaves) }
    }

    @Test func `when all have returned the next one leaves alone`() {
        var lanes = BatchLanes(limit: 2)
        #expect(lanes.leave(40) == 20)
        #expect(lanes.leave(20) == 20)
        lanes.ended()
        #expect(!lanes.mayLeave(3))
        lanes.ended()
        #expect(lanes.mayLeave(3))
        #expect(lanes.leave(3) == 3)
    }

    @Test func `a text that broke a batch runs alone until it has been quick for a while`() {
        var plan = BatchPlan()
        for text in ["SELECT 1", "SELECT 1 / $1"] { plan.ranAlone(text, 0.000_1) }
        plan.ran(["SELECT 1", "SELECT 1 / $1", "SELECT 1"], failedAt: 1, each: 0.000_1)
        #expect(rides("SELECT 1", &plan))
        for _ in 0..<BatchPlan.probation {
            #expect(!rides("SELECT 1 / $1", &plan))
            plan.ranAlone("SELECT 1 / $1", 0.000_1)
        }
        #expect(rides("SELECT 1 / $1", &plan))
    }

    @Test func `D10: a text that is new rides however many there were before, and one in use is not forgotten for them`() {
        var plan = BatchPlan()
        plan.ranAlone("SELECT 'in use'", 0.000_001)
        for number in 0..<(BatchPlan.texts * 3) {
            plan.ranAlone("SELECT \(number)", 0.000_001)
            #expect(rides("SELECT \(number)", &plan))
            #expect(rides("SELECT 'in use'", &plan))
            plan.left(plan.count)
        }
        #expect(!rides("SELECT 5", &plan))
    }

    @Test(arguments: [
        // The second of three divided by zero: it alone is told.
        (error: PostgresError.server(ServerError(sqlState: "22012", message: "")), wasCancelled: false, told: "alone failure alone"),
        // Cancelled by us for its length, or by somebody else.
        (.server(ServerError(sqlState: "57014", message: "")), true, "alone alone alone"),
        (.server(ServerError(sqlState: "57014", message: "")), false, "alone failure alone"),
        // No fault of any of them: nothing took effect.
        (.server(ServerError(sqlState: "57P01", message: "")), false, "alone alone alone"),
        (.server(ServerError(sqlState: "0A000", message: "")), false, "alone alone alone"),
        // Whether the transaction ended well is unknown.
        (.connectionLost("gone"), false, "failure failure failure"),
    ])
    func `an error is told to whom it belongs`(row: (error: PostgresError, wasCancelled: Bool, told: String)) {
        let answer = Operation.Answer(rows: [Rows(result: nil)], error: row.error)
        let told = (0..<3).map { index in
            switch Batch.outcome(index, answer, wasCancelled: row.wasCancelled) {
            case .rows: "rows"
            case .failure: "failure"
            case .alone: "alone"
            }
        }
        #expect(told.joined(separator: " ") == row.told)
    }
}
