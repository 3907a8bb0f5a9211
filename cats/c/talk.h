/* From the command line to the last word: meets the peer and talks to it; a server perhaps to one after the other. */
#ifndef CATS_TALK_H
#define CATS_TALK_H

#include "messages.h"
#include "options.h"
#include "tool.h"

/* Does what the options ask for. */
struct failure talk(const struct tool *tool, const struct options *options, const struct report *report);

#endif
