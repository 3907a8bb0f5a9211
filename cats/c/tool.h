/* What makes a tool the one that it is. */
#ifndef CATS_TOOL_H
#define CATS_TOOL_H

struct tool {
    /* What it is called. */
    const char *name;
    /* What it is for, in one sentence. */
    const char *about;
    /* Examples, for the help: lines, in which @ stands for the name. NULL after the last one. */
    const char *const *examples;
    /* The size of the rings unless the command line has another, as it is written there. */
    const char *buffer_size;
    /* What carries the channel, as the library calls it. */
    const char *transport;
    /* The variable by which a client is told where its server is, or NULL. */
    const char *configuration;
    /* What a client may do that waits at the wrong place. */
    const char *elsewhere;
};

/* Runs a tool, and says what the process exits with. */
int run(const struct tool *tool, int argc, char **argv);

#endif
