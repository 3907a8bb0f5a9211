#include "told.h"

#include <stdlib.h>
#include <string.h>

const char *server_variable(const struct tool *tool)
{
    const char *value = tool->configuration ? getenv(tool->configuration) : NULL;

    return value && *value ? value : NULL;
}

void say_server(const struct report *report, const struct tool *tool, const struct side *side)
{
    char *path = path_of(side);

    say_detail(report, "connected by %s to the server at %s", tool->configuration, path ? path : "?");
    free(path);
}

/* Whether a path is the requested one, or ends with it. */
static bool is_requested(const char *path, const char *requested)
{
    size_t all = strlen(path), end = strlen(requested);

    return !strcmp(path, requested) ||
           (all > end && path[all - end - 1] == '/' && !strcmp(path + all - end, requested));
}

void warn_other_server(const struct report *report, const struct tool *tool, const struct options *options,
                     const struct side *side)
{
    const char *requested = options->path ? options->path : options->port;
    char *path = path_of(side);

    /* A server that doesn't report its path is identified by its socket, which the value contains. */
    if (path && !strstr(server_variable(tool), path) && !is_requested(path, requested))
        say_warning(report, "%s points to the server at %s, not to %s; unset it to use DOMID and PORT",
                    tool->configuration, path, requested);
    free(path);
}
