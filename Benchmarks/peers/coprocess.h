// coprocess.h: what raw.c and fifo_pool.c share: the protocol of a measured program, its clocks and its histogram.
//
// A line "MODE POOL CALLERS SECONDS" on standard input asks for one measurement, one line of JSON on standard output answers
// it, and the end of the input ends the program. docs/BENCHMARKS.md says what the modes and the figures mean.
#ifndef COPROCESS_H
#define COPROCESS_H

#include <libpq-fe.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct order {
    char mode[16];
    int pool;
    int callers;
    double seconds;
};

// False at the end of the input. A line that is no order ends the program: nobody would wait for an answer to it.
static inline bool read_order(struct order *order) {
    char line[128];
    if (!fgets(line, sizeof line, stdin)) return false;
    if (sscanf(line, "%15s %d %d %lf", order->mode, &order->pool, &order->callers, &order->seconds) != 4) {
        fprintf(stderr, "not MODE POOL CALLERS SECONDS: %s", line);
        exit(1);
    }
    return true;
}

static inline uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

// User and system time of this process so far, every thread of it.
static inline double cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// Latencies, exact below STEPS ns and counted in STEPS steps per doubling above: never more than 0.8 % off, of bounded size.
enum { STEPS = 128, BUCKETS = 35 * STEPS };
struct histogram {
    long count;
    long buckets[BUCKETS];
};

static inline int bucket_of(uint64_t ns) {
    if (ns < STEPS) return (int)ns;
    int shift = 63 - __builtin_clzll(ns) - 7;
    int bucket = (shift + 1) * STEPS + (int)((ns >> shift) - STEPS);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static inline void record(struct histogram *histogram, uint64_t ns) {
    histogram->buckets[bucket_of(ns)]++;
    histogram->count++;
}

static inline void merge(struct histogram *into, const struct histogram *from) {
    into->count += from->count;
    for (int i = 0; i < BUCKETS; i++) into->buckets[i] += from->buckets[i];
}

// The middle of the bucket that holds the quantile, in microseconds.
static inline double quantile_us(const struct histogram *histogram, double quantile) {
    long before = (long)((double)histogram->count * quantile);
    int i = 0;
    for (; i < BUCKETS - 1 && before >= histogram->buckets[i]; i++) before -= histogram->buckets[i];
    if (i < STEPS) return i / 1e3;
    int shift = i / STEPS - 1;
    uint64_t low = (uint64_t)(i % STEPS + STEPS) << shift;
    return ((double)low + (double)(((uint64_t)1 << shift) - 1) / 2) / 1e3;
}

static inline void answer(const struct histogram *latencies, long operations, double elapsed_ns, double cpu) {
    printf("{\"ops_s\":%.1f,\"p50_us\":%.3f,\"p99_us\":%.3f,\"cpu_us_op\":%.4f}\n", (double)operations / elapsed_ns * 1e9,
           quantile_us(latencies, 0.5), quantile_us(latencies, 0.99), cpu / (double)operations);
    fflush(stdout);
}

// Whatever JSON would have to escape is replaced: messages of libpq have line ends and quotes.
static inline void answer_error(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') *c = '\'';
        if ((unsigned char)*c < ' ') *c = ' ';
    }
    printf("{\"error\":\"%s\"}\n", text);
    fflush(stdout);
}

// A connection to the server that PGHOST, PGPORT, PGUSER and PGDATABASE name, with SELECT 1 prepared as "one".
// Without one, the answer has been given.
static inline PGconn *connect_and_prepare(void) {
    PGconn *connection = PQconnectdb("");
    if (PQstatus(connection) == CONNECTION_OK) {
        PGresult *result = PQprepare(connection, "one", "SELECT 1", 0, NULL);
        bool prepared = PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
        if (prepared) return connection;
    }
    answer_error("%s", PQerrorMessage(connection));
    PQfinish(connection);
    return NULL;
}

static inline bool select_one(PGconn *connection) {
    PGresult *result = PQexecPrepared(connection, "one", 0, NULL, NULL, NULL, 0);
    bool came = PQresultStatus(result) == PGRES_TUPLES_OK;
    PQclear(result);
    return came;
}

#endif
