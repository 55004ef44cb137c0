// fifo_pool.c: the least that deserves the name of a pool: a mutex, a stack of idle connections, a queue of waiters, and a hand-off
// straight to the oldest of them. One thread per caller. It checks nothing, counts nothing and has no deadlines: how fast a fair
// pool over libpq can be.
//
//   query  acquire, PQexecPrepared, release
//   bare   acquire, release
#include "coprocess.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MOST_CONNECTIONS = 256, STACK = 256 * 1024 };

// One per caller, for as long as the caller lives.
struct waiter {
    pthread_cond_t handed;
    PGconn *connection;
    struct waiter *next;
};

static struct pool {
    pthread_mutex_t lock;
    PGconn *idle[MOST_CONNECTIONS];
    int idle_count;
    struct waiter *oldest, *newest;
    int size;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static PGconn *acquire(struct waiter *waiter) {
    PGconn *connection;
    pthread_mutex_lock(&pool.lock);
    if (pool.idle_count > 0) {
        connection = pool.idle[--pool.idle_count];
    } else {
        waiter->connection = NULL;
        waiter->next = NULL;
        if (pool.newest) pool.newest->next = waiter;
        else pool.oldest = waiter;
        pool.newest = waiter;
        while (!waiter->connection) pthread_cond_wait(&waiter->handed, &pool.lock);
        connection = waiter->connection;
    }
    pthread_mutex_unlock(&pool.lock);
    return connection;
}

static void release(PGconn *connection) {
    pthread_mutex_lock(&pool.lock);
    struct waiter *waiter = pool.oldest;
    if (waiter) {
        pool.oldest = waiter->next;
        if (!pool.oldest) pool.newest = NULL;
        waiter->connection = connection;
    } else {
        pool.idle[pool.idle_count++] = connection;
    }
    pthread_mutex_unlock(&pool.lock);
    // Outside the lock, or the waiter would wake only to wait for it. A signal that comes late finds a waiter that checks.
    if (waiter) pthread_cond_signal(&waiter->handed);
}

static void close_pool(void) {
    while (pool.idle_count > 0) PQfinish(pool.idle[--pool.idle_count]);
    pool.size = 0;
}

// False when the answer, an error, has been given.
static bool open_pool(int size) {
    if (pool.size == size) return true;
    close_pool();
    if (size < 1 || size > MOST_CONNECTIONS) {
        answer_error("fifo has room for 1 to %d connections, not for %d", MOST_CONNECTIONS, size);
        return false;
    }
    while (pool.idle_count < size) {
        PGconn *connection = connect_and_prepare();
        if (!connection) {
            close_pool();
            return false;
        }
        pool.idle[pool.idle_count++] = connection;
    }
    pool.size = size;
    return true;
}

// What the callers of one measurement share.
struct measurement {
    pthread_barrier_t barrier;
    uint64_t deadline;
    bool querying;
    atomic_flag failed;
    char failure[256];
};

struct caller {
    pthread_t thread;
    struct measurement *measurement;
    struct waiter waiter;
    struct histogram latencies;
};

static bool use(PGconn *connection, struct measurement *measurement) {
    if (!measurement->querying || select_one(connection)) return true;
    if (!atomic_flag_test_and_set(&measurement->failed))
        snprintf(measurement->failure, sizeof measurement->failure, "%s", PQerrorMessage(connection));
    return false;
}

static void *call(void *argument) {
    struct caller *caller = argument;
    struct measurement *measurement = caller->measurement;
    pthread_barrier_wait(&measurement->barrier);  // everybody is there
    pthread_barrier_wait(&measurement->barrier);  // the clock has started
    uint64_t last = now_ns();
    bool works = true;
    while (works && last < measurement->deadline) {
        PGconn *connection = acquire(&caller->waiter);
        works = use(connection, measurement);
        release(connection);
        uint64_t now = now_ns();
        record(&caller->latencies, now - last);
        last = now;
    }
    return NULL;
}

static void measure(const struct order *order) {
    struct measurement measurement = {.querying = strcmp(order->mode, "query") == 0, .failed = ATOMIC_FLAG_INIT};
    struct caller *callers = calloc((size_t)order->callers, sizeof *callers);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_barrier_init(&measurement.barrier, NULL, (unsigned)order->callers + 1);
    for (int i = 0; i < order->callers; i++) {
        callers[i].measurement = &measurement;
        pthread_cond_init(&callers[i].waiter.handed, NULL);
        if (pthread_create(&callers[i].thread, &attributes, call, &callers[i]) != 0) {
            perror("a thread for a caller");
            exit(1);
        }
    }

    pthread_barrier_wait(&measurement.barrier);
    double cpu = cpu_us();
    uint64_t start = now_ns();
    measurement.deadline = start + (uint64_t)(order->seconds * 1e9);
    pthread_barrier_wait(&measurement.barrier);
    for (int i = 0; i < order->callers; i++) pthread_join(callers[i].thread, NULL);
    double elapsed = (double)(now_ns() - start);
    cpu = cpu_us() - cpu;

    static struct histogram latencies;
    memset(&latencies, 0, sizeof latencies);
    for (int i = 0; i < order->callers; i++) {
        merge(&latencies, &callers[i].latencies);
        pthread_cond_destroy(&callers[i].waiter.handed);
    }
    pthread_barrier_destroy(&measurement.barrier);
    pthread_attr_destroy(&attributes);
    free(callers);
    if (measurement.failure[0]) {
        // What is left of the connections is not known; the next order gets new ones.
        close_pool();
        answer_error("%s", measurement.failure);
    } else {
        answer(&latencies, latencies.count, elapsed, cpu);
    }
}

int main(void) {
    struct order order;
    while (read_order(&order)) {
        if (strcmp(order.mode, "query") != 0 && strcmp(order.mode, "bare") != 0) answer_error("fifo has no mode %s", order.mode);
        else if (open_pool(order.pool)) measure(&order);
    }
    close_pool();
    return 0;
}
