/* Splits a command line into options, their values and words. The Rust build parses identically, with the same
 * error texts. */
#ifndef CATS_LINE_H
#define CATS_LINE_H

#include <stdbool.h>

#include "messages.h"
#include "tool.h"

enum key { LISTEN, PATH, BUFFER_SIZE, RECV_ONLY, SEND_ONLY, WAIT, LINGER, TIMEOUT, KEEP, QUIET, VERBOSE, PROGRESS, HELP, VERSION, KEYS };

/* The long forms, without dashes. */
extern const char *const option_names[KEYS];

struct line {
    const struct tool *tool;
    /* The options given, and their values. */
    bool given[KEYS];
    const char *values[KEYS];
    /* Positional arguments: their number and the first of them. */
    const char *words[4];
    int count;
    /* Index of the word that follows --wait without a value; -1 if none. */
    int after_wait;
    /* Whether help was requested by -h. */
    bool brief;
};

/* Prints an error; returns false. */
#define USAGE_ERROR(line, ...) (say_usage_error((line)->tool->name, __VA_ARGS__), false)

/* Parses the arguments, up to a help or version option. Prints an error and returns false if they are invalid. */
bool read_line(struct line *line, int argc, char **argv);

#endif
