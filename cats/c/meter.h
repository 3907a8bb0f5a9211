/* What has moved, and when: counted by the pumps, looked at by the thread that decides on the end; and shown to
 * people at a terminal. */
#ifndef CATS_METER_H
#define CATS_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct meter {
    int64_t start;
    _Atomic uint64_t sent, received;
    /* When something moved last, and was received last; at the start if nothing was. */
    _Atomic int64_t last_moved, last_received;
};

/* Starts counting, and the clock. */
void meter_start(struct meter *meter);
/* Counts bytes handed to the ring. */
void meter_sent(struct meter *meter, size_t count);
/* Counts bytes that came out of the ring. */
void meter_received(struct meter *meter, size_t count);
/* Notes that the peer took something out of the ring. */
void meter_moved(struct meter *meter);

/* A line on standard error that changes. */
struct progress {
    /* Whether there is one, and it wants to be told regularly. */
    bool shows;
    /* The rate is that since the older of two moments. */
    int64_t moments[2];
    uint64_t counts[2];
};

/* Shows something only if it is wanted and standard error is a terminal. */
void progress_start(struct progress *progress, bool wanted);
void progress_show(struct progress *progress, const struct meter *meter);
/* Leaves the last state of the line on the terminal. */
void progress_finish(const struct progress *progress);

#endif
