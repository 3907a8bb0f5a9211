/* Messages about a client whose server is named by an environment variable. */
#ifndef CATS_TOLD_H
#define CATS_TOLD_H

#include "meet.h"
#include "messages.h"
#include "options.h"
#include "tool.h"

/* The variable's value, or NULL if the client uses DOMID and PORT. */
const char *server_variable(const struct tool *tool);

/* Prints which server was reached, for --verbose. */
void say_server(const struct report *report, const struct tool *tool, const struct side *side);

/* Warns if the server is not the requested one, where the server says which it is. The variable may be stale. */
void warn_other_server(const struct report *report, const struct tool *tool, const struct options *options,
                     const struct side *side);

#endif
