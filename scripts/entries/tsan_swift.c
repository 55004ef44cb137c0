/* Tells the thread sanitizer what it cannot see in Swift's own libraries, where nothing is instrumented. Without it every lock that was waited
   for would be reported as a race. Preloaded by prove_race.py; in programs without the sanitizer it changes nothing.

   Mutex: _lock and _unlock are inlined into their callers, _lockSlow and _unlockSlow are not; the handle is passed as self.
   Source: swift, stdlib/public/Synchronization/Mutex/LinuxImpl.swift (Swift 6.3).

   Continuations: one that is resumed before its task has come to wait for it goes on without a job, and only jobs are told to the sanitizer.
   The library calls its own swift_continuation_resume and _await directly, so that they cannot be replaced for a CheckedContinuation. Its
   two resume methods can: self is the address of a reference to the canary, whose first field is the task. The task is told of it whenever
   it gives back a frame: that of withCheckedContinuation goes before it looks at what it got, and none goes between handing the continuation
   out and waiting for it, because the closure in which that happens cannot suspend.
   Source: swift, stdlib/public/Concurrency/CheckedContinuation.swift (Swift 6.3). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define RESUME_RETURNING "$sScC6resume9returningyxn_tF"
#define RESUME_THROWING "$sScC6resume8throwingyq_n_tF"
#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))

struct canary { void *metadata, *references, *task; };

typedef SWIFT void lock_slow(uint32_t thread, SELF void *mutex);
typedef SWIFT void unlock_slow(SELF void *mutex);
typedef SWIFT void resume(void *value, void *type, SELF struct canary **continuation);
typedef SWIFT void deallocate(void *frame);
typedef void annotate(void *address);

SWIFT extern void *swift_task_getCurrent(void) __attribute__((weak));

static annotate *acquire, *release;
static lock_slow *real_lock;
static unlock_slow *real_unlock;
static resume *real_returning, *real_throwing;
static deallocate *real_deallocate;

__attribute__((constructor)) static void find(void) {
    acquire = (annotate *)dlsym(RTLD_DEFAULT, "__tsan_acquire");
    release = (annotate *)dlsym(RTLD_DEFAULT, "__tsan_release");
    real_lock = (lock_slow *)dlsym(RTLD_NEXT, LOCK);
    real_unlock = (unlock_slow *)dlsym(RTLD_NEXT, UNLOCK);
    real_returning = (resume *)dlsym(RTLD_NEXT, RESUME_RETURNING);
    real_throwing = (resume *)dlsym(RTLD_NEXT, RESUME_THROWING);
    real_deallocate = (deallocate *)dlsym(RTLD_NEXT, "swift_task_dealloc");
}

static void tell(annotate *what, void *address) {
    if (what) what(address);
}

SWIFT void preloaded_lock(uint32_t thread, SELF void *mutex) __asm__(LOCK);
SWIFT void preloaded_unlock(SELF void *mutex) __asm__(UNLOCK);
SWIFT void preloaded_returning(void *value, void *type, SELF struct canary **continuation) __asm__(RESUME_RETURNING);
SWIFT void preloaded_throwing(void *value, void *type, SELF struct canary **continuation) __asm__(RESUME_THROWING);

SWIFT void preloaded_lock(uint32_t thread, SELF void *mutex) {
    real_lock(thread, mutex);
    tell(acquire, mutex);
}

SWIFT void preloaded_unlock(SELF void *mutex) {
    tell(release, mutex);
    real_unlock(mutex);
}

SWIFT void preloaded_returning(void *value, void *type, SELF struct canary **continuation) {
    tell(release, (*continuation)->task);
    real_returning(value, type, continuation);
}

SWIFT void preloaded_throwing(void *value, void *type, SELF struct canary **continuation) {
    tell(release, (*continuation)->task);
    real_throwing(value, type, continuation);
}

SWIFT void swift_task_dealloc(void *frame) {
    tell(acquire, swift_task_getCurrent());
    real_deallocate(frame);
}
