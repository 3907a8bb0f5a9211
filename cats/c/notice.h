/* A hint for users when a wait takes long, perhaps in the wrong place. */
#ifndef CATS_NOTICE_H
#define CATS_NOTICE_H

#include <pthread.h>
#include <stdbool.h>

#include "messages.h"

struct notice {
    const struct report *report;
    /* The text and a hint after it. */
    const char *text, *hint;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, over;
};

/* Prints "still waiting", the reason and the hint, unless notice_stop() is called soon. */
void notice_start(struct notice *notice, const struct report *report, const char *text, const char *hint);
void notice_stop(struct notice *notice);

#endif
