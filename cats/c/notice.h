/* A word to people who wait in vain, perhaps at the wrong place. */
#ifndef CATS_NOTICE_H
#define CATS_NOTICE_H

#include <pthread.h>
#include <stdbool.h>

#include "messages.h"

struct notice {
    const struct report *report;
    /* What is said, and a hint after it. */
    const char *text, *hint;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, over;
};

/* Has it said that somebody still waits, and why, unless notice_stop() is called soon. */
void notice_start(struct notice *notice, const struct report *report, const char *text, const char *hint);
void notice_stop(struct notice *notice);

#endif
