/* How the two sides of a conversation meet. */
#ifndef CATS_MEET_H
#define CATS_MEET_H

#include <stdbool.h>

#include <vchan-rs.h>

#include "messages.h"
#include "options.h"
#include "tool.h"

/* One side of a meeting. */
struct side {
    struct libxenvchan *ctrl;
    /* Ends the meeting, and the conversation. */
    struct vchan_rs_closer *closer;
};

/* Connects to the server, which may have to come first. A signal ends that: then nothing has failed, and there is no
 * channel. */
struct failure meet_server(const struct tool *tool, const struct options *options, const struct report *report,
                           struct side *side);

/* Offers a channel; then waits for the client for so many nanoseconds, or for ever where that is 0. Signals as above:
 * after that accept_client() must not be called. Where somebody has removed what clients find the channel by, it is lost, and
 * there is none any more. */
struct failure offer_channel(const struct tool *tool, const struct options *options, struct side *side);
struct failure accept_client(struct side *side, int64_t timeout, bool *lost);

/* Undoes it, as far as it came. Not for a channel that a conversation has closed: set ctrl to NULL before. */
void part_from(struct side *side);

/* The channel's path, and the lines for the shell; allocated, NULL where there is no memory. */
char *path_of(const struct side *side);
char *export_lines_of(const struct side *side);

#endif
