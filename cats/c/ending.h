/* One conversation, and above all its end: who ended it, what is still on its way, and what is made of it. */
#ifndef CATS_ENDING_H
#define CATS_ENDING_H

#include <stdbool.h>
#include <stdint.h>

#include <vchan-rs.h>

#include "messages.h"
#include "meter.h"

/* What a conversation depends on. */
struct terms {
    /* Whether the end of standard input ends it. */
    bool ends_with_input;
    /* Whether what is coming in at the end of standard input is worth staying for. */
    bool lingers;
    /* How long to listen after the end of standard input; negative for as the peer makes it best. */
    int64_t linger;
    /* How long nothing may move; 0 for ever. */
    int64_t timeout;
    /* Standard input, or -1 to send nothing; and standard output. */
    int input, output;
    /* Where to warn. */
    const struct report *report;
};

/* How a conversation went. */
struct ended {
    /* Whether standard input has ended. */
    bool input_over;
    uint64_t sent, received;
    int64_t lasted;
};

/* Talks over the channel until the end, and closes it. */
struct failure converse(struct libxenvchan *ctrl, struct vchan_rs_closer *closer, const struct terms *terms,
                        struct progress *progress, struct ended *ended);

#endif
