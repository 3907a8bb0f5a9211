#include "options.h"

#include <stdio.h>

/* The texts are those of the build in Rust, cats/help, one line each. */
static const char *const options_text[] = {
#include "options.txt.h"
    NULL
};
static const char *const more_text[] = {
#include "more.txt.h"
    NULL
};

/* In the texts, @ stands for the tool's name. */
static void put(const char *line, const char *name)
{
    for (; *line; line++) {
        if (*line == '@')
            fputs(name, stdout);
        else
            putchar(*line);
    }
    putchar('\n');
}

static void put_all(const char *const *lines, const char *name)
{
    for (; *lines; lines++)
        put(*lines, name);
}

void print_help(const struct tool *tool, bool brief)
{
    puts(tool->about);
    put_all(options_text, tool->name);
    if (brief) {
        put("\nExamples, exit codes and the rest: @ --help", tool->name);
        return;
    }
    put_all(tool->examples, tool->name);
    put_all(more_text, tool->name);
}
