/* Start and exit of both tools. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "messages.h"
#include "options.h"
#include "standard.h"
#include "talk.h"
#include "tool.h"

int run(const struct tool *tool, int argc, char **argv)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    struct options options;
    struct report report;
    struct failure failure;
    int code;

    open_standard_streams();
    /* A lost reader of the output is reported as an error; it must not kill the tool. */
    sigaction(SIGPIPE, &ignore, NULL);
    if (read_options(tool, argc, argv, &options, &code)) {
        report = (struct report){ tool->name, options.quiet, options.verbose };
        failure = talk(tool, &options, &report);
    } else if (code == EXIT_DONE && was_closed(STDOUT_FILENO)) {
        /* Help or the version with standard output closed. */
        report = (struct report){ tool->name, false, false };
        failure = stream_failure("standard output", EBADF);
    } else {
        return code;
    }
    code = failure.exit;
    if (code != EXIT_DONE)
        say_failure(&report, &failure);
    forget(&failure);
    return code;
}
