// What the Glibc module that Swift ships leaves out, or makes dear.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

// Behind _GNU_SOURCE in pthread.h.
int pthread_setname_np(pthread_t thread, const char *name);

// Behind _GNU_SOURCE in sched.h.
int sched_getaffinity(pid_t process, size_t size, cpu_set_t *cores);

// Of CLOCK_MONOTONIC. It is read several times for every statement; Dispatch would add a tenth to that.
static inline int64_t monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
