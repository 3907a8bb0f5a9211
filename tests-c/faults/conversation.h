/* One conversation between two threads, during which one of the tested end's system calls fails. */
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include "faults.h"
#include "inject.h"

enum phase { INIT, ACCEPT, WRITE, READ, ASK, CLOSE, PHASES };
extern const char *const phase_names[];

/* The call to fail: the nth of kind nr made by the tested end in this phase. */
struct trial {
    enum role role;
    enum phase phase;
    int nr, nth, error;
};

/* The result, in memory shared by both processes. */
struct verdict {
    int counts[INJECT_CALLS];
    bool happened;
    int reported; /* the errno of the failed call, 0 if none failed */
    int left; /* files of the closed channel left until the next server */
    char text[200];
    char message[300];
};

void converse(const struct trial *t, struct verdict *v);
/* Shared with children. */
void *must_map(size_t size);

#endif
