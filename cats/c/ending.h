/* One conversation and its end: which side ended it, what is still in flight, and the result. */
#ifndef CATS_ENDING_H
#define CATS_ENDING_H

#include <stdbool.h>
#include <stdint.h>

#include <vchan-rs.h>

#include "messages.h"
#include "meter.h"

/* Parameters of a conversation. */
struct terms {
    /* End the conversation at EOF on standard input. */
    bool ends_with_input;
    /* Keep receiving after EOF on standard input. */
    bool lingers;
    /* How long to keep receiving after EOF on standard input; negative adapts to the peer. */
    int64_t linger;
    /* Idle timeout; 0 for none. */
    int64_t timeout;
    /* Standard input, or -1 to send nothing; standard output. */
    int input, output;
    /* Destination of warnings. */
    const struct report *report;
};

/* Statistics of a conversation. */
struct ended {
    /* Whether EOF was reached on standard input. */
    bool input_over;
    uint64_t sent, received;
    int64_t lasted;
};

/* Runs the conversation to its end and closes the channel. */
struct failure converse(struct libxenvchan *ctrl, struct vchan_rs_closer *closer, const struct terms *terms,
                        struct progress *progress, struct ended *ended);

#endif
