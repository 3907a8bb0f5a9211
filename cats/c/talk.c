#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ending.h"
#include "meet.h"
#include "pump.h"
#include "signals.h"
#include "size.h"
#include "standard.h"
#include "told.h"

struct session {
    const struct tool *tool;
    const struct options *options;
    const struct report *report;
    /* Whether standard input still has to be read. */
    bool reads_input;
    /* The lines for the shell that were printed last. */
    char *announced;
};

static void say_path(const struct report *report, const char *what, const struct side *side)
{
    char *path = path_of(side);

    say_detail(report, "%s %s", what, path ? path : "?");
    free(path);
}

/* Whether this is a client whose server is named by the variable. */
static bool has_server_variable(const struct session *session)
{
    return !session->options->listen && server_variable(session->tool);
}

/* Runs the conversation with the peer and releases the channel. */
static struct failure talk_with(struct session *session, struct side *side)
{
    const struct options *options = session->options;
    struct terms terms = {
        .ends_with_input = !options->keep_listening,
        .lingers = !options->send_only,
        .linger = options->linger,
        .timeout = options->timeout,
        .input = session->reads_input ? STDIN_FILENO : -1,
        .output = STDOUT_FILENO,
        .report = session->report,
    };
    struct progress progress;
    struct ended ended;
    struct failure failure;

    if (has_server_variable(session))
        warn_other_server(session->report, session->tool, options, side);
    say_lines(session->report, "Connected.\n");
    if (has_server_variable(session))
        say_server(session->report, session->tool, side);
    else
        say_path(session->report, "connected at", side);
    if (options->send_only) {
        terms.output = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (terms.output < 0) {
            failure = stream_failure("/dev/null", errno);
            release_side(side);
            return failure;
        }
    }
    progress_start(&progress, options->progress);
    failure = converse(side->ctrl, side->closer, &terms, &progress, &ended);
    side->ctrl = NULL;
    release_side(side);
    progress_finish(&progress);
    if (options->send_only)
        close(terms.output);
    if (ended.input_over)
        session->reads_input = false;
    if (failure.exit != EXIT_DONE)
        return failure;
    say_lines(session->report, "Disconnected.\n");
    say_detail(session->report, "sent %s, received %s in %.3f s", human(ended.sent).text, human(ended.received).text,
               (double)ended.lasted / (double)SECOND);
    return failure;
}

static struct failure call(struct session *session)
{
    const struct options *options = session->options;
    struct side side;
    struct failure failure;

    if (options->wait && has_server_variable(session))
        say_detail(session->report, "waiting for the server of %s", session->tool->configuration);
    else if (options->wait)
        say_detail(session->report, "waiting for a server of %s", options->path ? options->path : options->port);
    failure = meet_server(session->tool, options, session->report, &side);
    if (failure.exit != EXIT_DONE || !side.ctrl)
        return failure;
    return talk_with(session, &side);
}

/* Prints the server's address, unless it is unchanged. */
static void announce(struct session *session, const struct side *side)
{
    char *lines = export_lines_of(side);

    if (lines && (!session->announced || strcmp(lines, session->announced))) {
        say_lines(session->report, lines);
        free(session->announced);
        session->announced = lines;
    } else {
        free(lines);
    }
    say_path(session->report, "serving at", side);
}

static struct failure serve(struct session *session)
{
    const struct options *options = session->options;
    /* With --keep-listening there is no timeout between two clients. */
    int64_t limit = options->keep_listening ? 0 : options->timeout;

    for (;;) {
        struct side side;
        struct failure failure = offer_channel(session->tool, options, &side);
        bool lost;

        if (failure.exit != EXIT_DONE || !side.ctrl)
            return failure;
        announce(session, &side);
        failure = accept_client(&side, limit, &lost);
        if (lost) {
            say_detail(session->report, "the published address was removed, publishing again");
            continue;
        }
        if (failure.exit == EXIT_DONE) {
            if (!side.ctrl)
                return failure;
            failure = talk_with(session, &side);
        }
        if (!options->keep_listening || signal_received())
            return failure;
        if (failure.exit != EXIT_DONE) {
            if (!failure.peers_fault)
                return failure;
            /* A client's failure does not end the server. */
            say_failure(session->report, &failure);
            forget(&failure);
        }
    }
}

/* Checks that standard input and output are open, if they are used. */
static struct failure check_streams(struct session *session)
{
    const struct options *options = session->options;
    int error = 0;

    if (session->reads_input && was_closed(STDIN_FILENO)) {
        if (options->send_only)
            return stream_failure("standard input", EBADF);
        warn_of_no_input(session->report, EBADF);
        session->reads_input = false;
    }
    if (options->send_only)
        return NO_FAILURE;
    if (was_closed(STDOUT_FILENO))
        return stream_failure("standard output", EBADF);
    if (has_reader(STDOUT_FILENO))
        error = watch_output(STDOUT_FILENO);
    return error ? system_failure("start: start a thread", error) : NO_FAILURE;
}

struct failure talk(const struct tool *tool, const struct options *options, const struct report *report)
{
    struct session session = { .tool = tool, .options = options, .report = report, .reads_input = !options->recv_only };
    struct failure failure;
    const char *requested = getenv("VCHAN_TRANSPORT");
    int error;

    if (requested && *requested && strcmp(requested, "auto") && strcmp(requested, tool->transport))
        say_warning(report, "VCHAN_TRANSPORT=%s is ignored: %s always uses transport %s", requested, tool->name,
                 tool->transport);
    error = catch_signals();
    if (!error)
        error = prepare_to_interrupt();
    if (error)
        return system_failure("start: catch signals", error);
    failure = check_streams(&session);
    if (failure.exit != EXIT_DONE)
        return failure;
    failure = options->listen ? serve(&session) : call(&session);
    free(session.announced);
    return failure;
}
