/* What both tools do first and last. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "messages.h"
#include "options.h"
#include "talk.h"
#include "tool.h"

/* Whoever is started without one of the three standard streams must not get a socket under its number. */
static void open_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0)
            return;
}

int run(const struct tool *tool, int argc, char **argv)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    struct options options;
    struct report report;
    struct failure failure;
    int code;

    open_standard_streams();
    /* Output that nobody reads is an error to be told, not a reason to be killed. */
    sigaction(SIGPIPE, &ignore, NULL);
    if (!read_options(tool, argc, argv, &options, &code))
        return code;
    report = (struct report){ tool->name, options.quiet, options.verbose };
    failure = talk(tool, &options, &report);
    code = failure.exit;
    if (code != EXIT_DONE)
        say_failure(&report, &failure);
    forget(&failure);
    return code;
}
