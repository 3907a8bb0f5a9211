#include "notice.h"

#include <errno.h>
#include <time.h>

/* Longer than it takes to start both sides. */
#define DELAY_SECONDS 1

static void *wait_and_say(void *arg)
{
    struct notice *notice = arg;
    struct timespec limit;
    int error = 0;

    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += DELAY_SECONDS;
    pthread_mutex_lock(&notice->lock);
    while (!notice->over && !error)
        error = pthread_cond_timedwait(&notice->changed, &notice->lock, &limit);
    if (!notice->over && error == ETIMEDOUT)
        say_note(notice->report, "still waiting: %s; %s", notice->text, notice->hint);
    pthread_mutex_unlock(&notice->lock);
    return NULL;
}

void notice_start(struct notice *notice, const struct report *report, const char *text, const char *hint)
{
    pthread_condattr_t attributes;

    *notice = (struct notice){ .report = report, .text = text, .hint = hint };
    /* These fail only without memory; without the thread there is no hint. */
    pthread_mutex_init(&notice->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&notice->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    notice->started = pthread_create(&notice->thread, NULL, wait_and_say, notice) == 0;
}

void notice_stop(struct notice *notice)
{
    pthread_mutex_lock(&notice->lock);
    notice->over = true;
    pthread_cond_signal(&notice->changed);
    pthread_mutex_unlock(&notice->lock);
    if (notice->started)
        pthread_join(notice->thread, NULL);
    pthread_cond_destroy(&notice->changed);
    pthread_mutex_destroy(&notice->lock);
}
