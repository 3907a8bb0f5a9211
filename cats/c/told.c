#include "told.h"

#include <stdlib.h>
#include <string.h>

const char *told(const struct tool *tool)
{
    const char *value = tool->configuration ? getenv(tool->configuration) : NULL;

    return value && *value ? value : NULL;
}

void say_whom(const struct report *report, const struct tool *tool, const struct side *side)
{
    char *path = path_of(side);

    say_detail(report, "connected by %s to the server at %s", tool->configuration, path ? path : "?");
    free(path);
}

/* Whether a path is the requested one, or ends with it. */
static bool is_asked(const char *path, const char *asked)
{
    size_t all = strlen(path), end = strlen(asked);

    return !strcmp(path, asked) || (all > end && path[all - end - 1] == '/' && !strcmp(path + all - end, asked));
}

void warn_of_another(const struct report *report, const struct tool *tool, const struct options *options,
                     const struct side *side)
{
    const char *asked = options->path ? options->path : options->port;
    char *path = path_of(side);

    /* A server that doesn't report its path is identified by its socket, which the value contains. */
    if (path && !strstr(told(tool), path) && !is_asked(path, asked))
        say_warning(report, "%s points to the server at %s, not to %s; unset it to use DOMID and PORT",
                    tool->configuration, path, asked);
    free(path);
}
