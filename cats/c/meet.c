#include "meet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notice.h"
#include "signals.h"
#include "size.h"
#include "told.h"

static void close_channel(void *closer, enum reason reason)
{
    (void)reason;
    vchan_rs_closer_close(closer);
}

/* Creates a closer that signals use until the conversation begins. */
static bool make_closer(struct side *side)
{
    side->ctrl = NULL;
    side->closer = vchan_rs_closer_new();
    if (!side->closer)
        return false;
    set_signal_listener(close_channel, side->closer);
    return true;
}

static struct vchan_rs_options library_options(const struct tool *tool, const struct options *options,
                                               const struct side *side)
{
    struct vchan_rs_options chosen = { .size = sizeof(chosen) };

    chosen.transport = tool->transport;
    chosen.closer = side->closer;
    chosen.flags = VCHAN_RS_OCAML_ORDERS | (options->path ? 0 : VCHAN_RS_PORT);
    return chosen;
}

/* The result of an attempt to meet: a failure, unless a signal ended it. */
static struct failure outcome(struct side *side, bool fine, const char *doing)
{
    struct failure failure = NO_FAILURE;

    if (fine)
        return failure;
    if (vchan_rs_last_error_kind() == VCHAN_RS_ERROR_CLOSED && output_is_lost())
        failure = stream_failure("standard output", EPIPE);
    else if (vchan_rs_last_error_kind() != VCHAN_RS_ERROR_CLOSED || !signal_received())
        failure = library_failure(doing);
    release_side(side);
    return failure;
}

/* How long a client waits for its server, as the library expects it. */
static int wait_limit(const struct options *options)
{
    int64_t limit = options->wait_time ? options->wait_time : options->timeout;

    if (!options->wait)
        return 0;
    return limit ? milliseconds(limit) : -1;
}

/* Whether the library's last call failed for lack of a server. */
static bool no_server_yet(void)
{
    int kind = vchan_rs_last_error_kind();

    return kind == VCHAN_RS_ERROR_NO_SERVER || (kind == VCHAN_RS_ERROR_IN_USE && errno != EADDRINUSE);
}

/* Waits for a missing server as long as the options allow. */
static struct libxenvchan *wait_for_server(const struct tool *tool, const struct options *options,
                                           const struct report *report, struct vchan_rs_options *chosen)
{
    const char *point = options->path ? options->path : options->port;
    char *why = strdup(library_error());
    struct notice notice;
    struct libxenvchan *ctrl;
    char hint[96];
    int error;

    snprintf(hint, sizeof(hint), chosen->configuration ? "unset %s to use DOMID and PORT" : "%s",
             chosen->configuration ? tool->configuration : tool->wait_hint);
    notice_start(&notice, report, why ? why : "no memory for the message", hint);
    chosen->timeout_ms = wait_limit(options);
    ctrl = vchan_rs_client_init(options->domid, point, chosen);
    error = errno;
    notice_stop(&notice);
    free(why);
    errno = error;
    return ctrl;
}

struct failure meet_server(const struct tool *tool, const struct options *options, const struct report *report,
                           struct side *side)
{
    const char *point = options->path ? options->path : options->port;
    const char *configuration = server_variable(tool);
    char doing[64] = "connect";
    struct vchan_rs_options chosen;

    if (!make_closer(side))
        return library_failure("start");
    chosen = library_options(tool, options, side);
    if (configuration) {
        chosen.configuration = configuration;
        snprintf(doing, sizeof(doing), "connect by %s", tool->configuration);
    }
    side->ctrl = vchan_rs_client_init(options->domid, point, &chosen);
    if (!side->ctrl && options->wait && no_server_yet())
        side->ctrl = wait_for_server(tool, options, report, &chosen);
    return outcome(side, side->ctrl != NULL, doing);
}

struct failure offer_channel(const struct tool *tool, const struct options *options, struct side *side)
{
    const char *point = options->path ? options->path : options->port;
    struct vchan_rs_options chosen;

    if (!make_closer(side))
        return library_failure("start");
    chosen = library_options(tool, options, side);
    side->ctrl = vchan_rs_server_init(options->domid, point, options->buffer_size, options->buffer_size, &chosen);
    return outcome(side, side->ctrl != NULL, "listen");
}

struct failure accept_client(struct side *side, int64_t timeout, bool *lost)
{
    bool fine = vchan_rs_accept(side->ctrl, timeout ? milliseconds(timeout) : -1) == 0;

    *lost = !fine && errno == EIDRM;
    if (*lost) {
        release_side(side);
        return NO_FAILURE;
    }
    return outcome(side, fine, "wait for a client");
}

void release_side(struct side *side)
{
    set_signal_listener(NULL, NULL);
    libxenvchan_close(side->ctrl);
    vchan_rs_closer_free(side->closer);
    side->ctrl = NULL;
    side->closer = NULL;
}

/* Allocates the text that one of the library's functions writes. */
static char *written(ssize_t (*write)(struct libxenvchan *, char *, size_t), struct libxenvchan *ctrl)
{
    ssize_t length = write(ctrl, NULL, 0);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);

    if (text)
        write(ctrl, text, (size_t)length + 1);
    return text;
}

char *path_of(const struct side *side)
{
    return written(vchan_rs_path, side->ctrl);
}

char *export_lines_of(const struct side *side)
{
    return written(vchan_rs_export_lines, side->ctrl);
}
