/* The command line. */
#ifndef CATS_OPTIONS_H
#define CATS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tool.h"

/* Parsed command-line options. Times are in nanoseconds, 0 if not given. */
struct options {
    bool listen;
    int domid;
    /* Exactly one is set, the other is NULL. */
    const char *port, *path;
    size_t buffer_size;
    bool recv_only, send_only;
    bool wait;
    int64_t wait_time;
    /* Negative if not given. */
    int64_t linger;
    int64_t timeout;
    bool keep_listening;
    bool quiet, verbose, progress;
};

/* Parses the command line. Prints help, version and errors itself: then it returns false and sets *exit. */
bool read_options(const struct tool *tool, int argc, char **argv, struct options *options, int *exit);

/* Prints the text of --help, or of -h. */
void print_help(const struct tool *tool, bool brief);

#endif
