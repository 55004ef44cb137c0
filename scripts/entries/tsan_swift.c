/* Tells the thread sanitizer what it cannot see in Swift's own libraries, where nothing is instrumented. Without it every lock that was waited
   for would be reported as a race. Preloaded by prove_race.py; in programs without the sanitizer it changes nothing.

   Mutex: _lock and _unlock are inlined into their callers, _lockSlow and _unlockSlow are not; the handle is passed as self.
   Source: swift, stdlib/public/Synchronization/Mutex/LinuxImpl.swift (Swift 6.3).

   Continuations: one that is resumed before its task has come to wait for it goes on without a job, and only jobs are told to the sanitizer.
   Source: swift, stdlib/public/Concurrency/Task.cpp, swift_continuation_await. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define SELF __attribute__((swift_context))

typedef __attribute__((swiftcall)) void lock_slow(uint32_t, SELF void *);
typedef __attribute__((swiftcall)) void unlock_slow(SELF void *);

static void tell(const char *name, void *mutex) {
    void (*annotate)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, name);
    if (annotate) annotate(mutex);
}

__attribute__((swiftcall)) void preloaded_lock(uint32_t thread, SELF void *mutex) __asm__(LOCK);
__attribute__((swiftcall)) void preloaded_unlock(SELF void *mutex) __asm__(UNLOCK);

__attribute__((swiftcall)) void preloaded_lock(uint32_t thread, SELF void *mutex) {
    static _Atomic(lock_slow *) real;
    if (!real) real = (lock_slow *)dlsym(RTLD_NEXT, LOCK);
    real(thread, mutex);
    tell("__tsan_acquire", mutex);
}

__attribute__((swiftcall)) void preloaded_unlock(SELF void *mutex) {
    static _Atomic(unlock_slow *) real;
    if (!real) real = (unlock_slow *)dlsym(RTLD_NEXT, UNLOCK);
    tell("__tsan_release", mutex);
    real(mutex);
}

typedef __attribute__((swiftcall)) void resume(void *);
typedef __attribute__((swiftcall)) void resume_with_error(void *, void *);
typedef __attribute__((swiftasynccall)) void await(void *);
__attribute__((swiftcall)) extern void *swift_task_getCurrent(void) __attribute__((weak));

__attribute__((swiftcall)) void swift_continuation_resume(void *task) {
    tell("__tsan_release", task);
    ((resume *)dlsym(RTLD_NEXT, "swift_continuation_resume"))(task);
}

__attribute__((swiftcall)) void swift_continuation_throwingResume(void *task) {
    tell("__tsan_release", task);
    ((resume *)dlsym(RTLD_NEXT, "swift_continuation_throwingResume"))(task);
}

__attribute__((swiftcall)) void swift_continuation_throwingResumeWithError(void *task, void *error) {
    tell("__tsan_release", task);
    ((resume_with_error *)dlsym(RTLD_NEXT, "swift_continuation_throwingResumeWithError"))(task, error);
}

__attribute__((swiftasynccall)) void swift_continuation_await(void *context) {
    tell("__tsan_acquire", swift_task_getCurrent());
    await *real = (await *)dlsym(RTLD_NEXT, "swift_continuation_await");
    __attribute__((musttail)) return real(context);
}
