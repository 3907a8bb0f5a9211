/* The properties of a tool. */
#ifndef CATS_TOOL_H
#define CATS_TOOL_H

struct tool {
    /* The program name. */
    const char *name;
    /* One sentence for the help. */
    const char *about;
    /* Examples for the help: lines in which @ stands for the name, terminated by NULL. */
    const char *const *examples;
    /* The default ring size, as on the command line. */
    const char *buffer_size;
    /* The transport, by the library's name. */
    const char *transport;
    /* The environment variable that names a client's server, or NULL. */
    const char *configuration;
    /* A hint for a client that may be waiting in the wrong place. */
    const char *wait_hint;
};

/* Runs a tool and returns the exit code. */
int run(const struct tool *tool, int argc, char **argv);

#endif
