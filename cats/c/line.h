/* The words of a command line: which options were given, with which values, and what else. The build in Rust reads it
 * in the same way, and complains in the same words. */
#ifndef CATS_LINE_H
#define CATS_LINE_H

#include <stdbool.h>

#include "messages.h"
#include "tool.h"

enum key { LISTEN, PATH, BUFFER_SIZE, RECV_ONLY, SEND_ONLY, WAIT, LINGER, TIMEOUT, KEEP, QUIET, VERBOSE, PROGRESS, HELP, VERSION, KEYS };

/* How an option is written, without the dashes. */
extern const char *const option_names[KEYS];

struct line {
    const struct tool *tool;
    /* Which options were given, and with what value. */
    bool given[KEYS];
    const char *values[KEYS];
    /* The arguments that are neither options nor their values: how many, and the first of them. */
    const char *words[4];
    int count;
    /* Which of these follows after a --wait without a value; -1 for none. */
    int after_wait;
    /* Whether help was asked for by its letter. */
    bool brief;
};

/* Complains, and is false. */
#define COMPLAIN(line, ...) (say_complaint((line)->tool->name, __VA_ARGS__), false)

/* Reads the arguments, as far as to a wish for help or the version. False if that made no sense: then it has been said. */
bool read_line(struct line *line, int argc, char **argv);

#endif
