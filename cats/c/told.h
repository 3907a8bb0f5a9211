/* What is said of a client that a variable in its environment led to its server. */
#ifndef CATS_TOLD_H
#define CATS_TOLD_H

#include "meet.h"
#include "messages.h"
#include "options.h"
#include "tool.h"

/* The variable's value, or NULL where the client goes by DOMID and PORT. */
const char *told(const struct tool *tool);

/* Which server the client has met, for people who want to know more. */
void say_whom(const struct report *report, const struct tool *tool, const struct side *side);

/* Warns of a server that is another one than was asked for, where it says which it is. The variable may be an old one. */
void warn_of_another(const struct report *report, const struct tool *tool, const struct options *options,
                     const struct side *side);

#endif
