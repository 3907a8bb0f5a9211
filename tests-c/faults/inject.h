/*
 * Makes system calls of this thread fail, or be its last: the n-th of one kind, or of all. Whoever makes them, libc
 * or not, by Linux's syscall user dispatch. On x86-64, from Linux 5.11 on.
 */
#ifndef INJECT_H
#define INJECT_H

#include <stdbool.h>

#define INJECT_CALLS 512
/* For inject_plan(): any call that is worth failing. */
#define INJECT_ANY (-1)

enum inject_action { INJECT_NOTHING, INJECT_FAIL, INJECT_KILL_BEFORE, INJECT_KILL_AFTER };

/* To be called once in the thread; false where the system can't do it. */
bool inject_prepare(void);
/* From here on the nth call (from 1) of kind nr fails with this error, or the process is killed there. Counting begins
 * anew. */
void inject_plan(enum inject_action action, int nr, int nth, int error);
/* Only between these two calls are counted. */
void inject_on(void);
void inject_off(void);
/* How many there have been, and whether what was planned has happened. */
int inject_count(int nr);
bool inject_happened(void);

#endif
