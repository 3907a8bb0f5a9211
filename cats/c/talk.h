/* From the command line to the exit: meets the peer and runs the conversation; a server may serve several in
 * turn. */
#ifndef CATS_TALK_H
#define CATS_TALK_H

#include "messages.h"
#include "options.h"
#include "tool.h"

/* Runs the tool with these options. */
struct failure talk(const struct tool *tool, const struct options *options, const struct report *report);

#endif
