// raw.c: libpq without a pool: one connection, one statement after the other. What the machine and the server give at this moment,
// and so the measure of all others. POOL and CALLERS are ignored.
//
//   query     PQexecPrepared, in a loop
//   pipeline  10 statements and one Sync per round trip; operations are statements, latencies are those of a round trip
#include "coprocess.h"

enum { BATCH = 10 };

static bool take_one_of_pipeline(PGconn *connection) {
    PGresult *result = PQgetResult(connection);
    bool came = PQresultStatus(result) == PGRES_TUPLES_OK;
    PQclear(result);
    // The end of this statement's results is a NULL of its own.
    result = PQgetResult(connection);
    came = came && !result;
    PQclear(result);
    return came;
}

static bool select_one_ten_times(PGconn *connection) {
    for (int i = 0; i < BATCH; i++)
        if (!PQsendQueryPrepared(connection, "one", 0, NULL, NULL, NULL, 0)) return false;
    if (!PQpipelineSync(connection)) return false;
    for (int i = 0; i < BATCH; i++)
        if (!take_one_of_pipeline(connection)) return false;
    PGresult *result = PQgetResult(connection);
    bool synced = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    PQclear(result);
    return synced;
}

static bool measure(PGconn *connection, bool (*round_trip)(PGconn *), int statements, double seconds) {
    static struct histogram latencies;
    memset(&latencies, 0, sizeof latencies);
    double cpu = cpu_us();
    uint64_t start = now_ns(), last = start, deadline = start + (uint64_t)(seconds * 1e9);
    while (last < deadline) {
        if (!round_trip(connection)) return false;
        uint64_t now = now_ns();
        record(&latencies, now - last);
        last = now;
    }
    answer(&latencies, latencies.count * statements, (double)(last - start), cpu_us() - cpu);
    return true;
}

int main(void) {
    PGconn *connection = NULL;
    struct order order;
    while (read_order(&order)) {
        bool pipeline = strcmp(order.mode, "pipeline") == 0;
        if (!pipeline && strcmp(order.mode, "query") != 0) {
            answer_error("raw has no mode %s", order.mode);
            continue;
        }
        if (!connection && !(connection = connect_and_prepare())) continue;
        if (pipeline) PQenterPipelineMode(connection);
        bool done = pipeline ? measure(connection, select_one_ten_times, BATCH, order.seconds)
                             : measure(connection, select_one, 1, order.seconds);
        if (!done) answer_error("%s", PQerrorMessage(connection));
        if (!done || (pipeline && !PQexitPipelineMode(connection))) {
            PQfinish(connection);
            connection = NULL;
        }
    }
    PQfinish(connection);
    return 0;
}
