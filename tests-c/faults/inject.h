/* Makes system calls of this thread fail, or kills the process at one: the n-th of one kind, or of all. It catches
 * all callers, libc or not, by Linux's syscall user dispatch: x86-64, Linux 5.11 or newer. */
#ifndef INJECT_H
#define INJECT_H

#include <stdbool.h>

#define INJECT_CALLS 512
/* For inject_plan(): any call worth failing. */
#define INJECT_ANY (-1)

enum inject_action { INJECT_NOTHING, INJECT_FAIL, INJECT_KILL_BEFORE, INJECT_KILL_AFTER };

/* Call once in the thread; false if the system does not support it. */
bool inject_prepare(void);
/* From here on the nth call (from 1) of kind nr fails with this error, or the process is killed there. The count
 * restarts. */
void inject_plan(enum inject_action action, int nr, int nth, int error);
/* Only calls between these two are counted. */
void inject_on(void);
void inject_off(void);
/* The number of calls, and whether the planned event has happened. */
int inject_count(int nr);
bool inject_happened(void);

#endif
