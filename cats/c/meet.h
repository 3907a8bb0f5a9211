/* How server and client meet. */
#ifndef CATS_MEET_H
#define CATS_MEET_H

#include <stdbool.h>

#include <vchan-rs.h>

#include "messages.h"
#include "options.h"
#include "tool.h"

/* One side of a channel being set up. */
struct side {
    struct libxenvchan *ctrl;
    /* Ends the meeting and the conversation. */
    struct vchan_rs_closer *closer;
};

/* Connects to the server, waiting for it if requested. A signal ends the wait: no failure, and no channel. */
struct failure meet_server(const struct tool *tool, const struct options *options, const struct report *report,
                           struct side *side);

/* Offers a channel; then waits for the client up to a timeout in nanoseconds, 0 for none. Signals as above:
 * accept_client() must not be called afterwards. If the published address has been removed, lost becomes true and
 * there is no channel. */
struct failure offer_channel(const struct tool *tool, const struct options *options, struct side *side);
struct failure accept_client(struct side *side, int64_t timeout, bool *lost);

/* Releases everything set up so far. For a channel closed by a conversation set ctrl to NULL first. */
void release_side(struct side *side);

/* The channel's path, and the lines for the shell; allocated, NULL if out of memory. */
char *path_of(const struct side *side);
char *export_lines_of(const struct side *side);

#endif
