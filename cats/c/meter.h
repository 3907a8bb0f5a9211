/* Byte counts and timestamps, updated by the pumps, read by the thread that decides on the end; and the progress
 * line. */
#ifndef CATS_METER_H
#define CATS_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct meter {
    int64_t start;
    _Atomic uint64_t sent, received;
    /* Times of the last transfer and the last receive; initially the start. */
    _Atomic int64_t last_moved, last_received;
};

/* Starts the clock. */
void meter_start(struct meter *meter);
/* Counts bytes written to the ring. */
void meter_sent(struct meter *meter, size_t count);
/* Counts bytes read from the ring. */
void meter_received(struct meter *meter, size_t count);
/* Records that the peer has consumed something. */
void meter_moved(struct meter *meter);

/* The progress line on standard error. */
struct progress {
    /* Whether the line is shown and needs regular updates. */
    bool shows;
    /* The rate is computed over the time since the older of two samples. */
    int64_t moments[2];
    uint64_t counts[2];
};

/* Enabled only if requested and standard error is a terminal. */
void progress_start(struct progress *progress, bool wanted);
void progress_show(struct progress *progress, const struct meter *meter);
/* Leaves the final state on the terminal. */
void progress_finish(const struct progress *progress);

#endif
