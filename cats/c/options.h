/* The command line. */
#ifndef CATS_OPTIONS_H
#define CATS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tool.h"

/* What the user asked for. Times are in nanoseconds, 0 where none was given. */
struct options {
    bool listen;
    int domid;
    /* One of the two, the other one NULL. */
    const char *port, *path;
    size_t buffer_size;
    bool recv_only, send_only;
    bool wait;
    int64_t wait_time;
    /* Negative unless given. */
    int64_t linger;
    int64_t timeout;
    bool keep_listening;
    bool quiet, verbose, progress;
};

/* Reads the command line. Help, the version and complaints are printed here: then it is false, and *exit the exit
 * code. */
bool read_options(const struct tool *tool, int argc, char **argv, struct options *options, int *exit);

/* The text of --help, or that of -h. */
void print_help(const struct tool *tool, bool brief);

#endif
