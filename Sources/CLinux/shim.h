// What the Glibc module that Swift ships leaves out.
#pragma once
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

// Behind _GNU_SOURCE in pthread.h.
int pthread_setname_np(pthread_t thread, const char *name);
