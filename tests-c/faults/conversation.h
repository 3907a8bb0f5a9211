/* One conversation between two threads, in the course of which one of the tested end's system calls fails. */
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include "faults.h"
#include "inject.h"

enum phase { INIT, ACCEPT, WRITE, READ, ASK, CLOSE, PHASES };
extern const char *const phase_names[];

/* Which call is to fail: the nth of kind nr that the tested end makes in this phase. */
struct trial {
    enum role role;
    enum phase phase;
    int nr, nth, error;
};

/* What came of it, in memory that both processes see. */
struct verdict {
    int counts[INJECT_CALLS];
    bool happened;
    int told; /* the errno of the call that failed, 0 if none did */
    int left; /* files that the closed channel left until the next server came */
    char text[200];
    char complaint[300];
};

void converse(const struct trial *t, struct verdict *v);
/* Shared with children. */
void *must_map(size_t size);

#endif
