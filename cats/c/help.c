#include "options.h"

#include <stdio.h>

/* The texts are those of the Rust build, cats/help, one line each. */
static const char *const options_text[] = {
#include "options.txt.h"
    NULL
};
static const char *const more_text[] = {
#include "more.txt.h"
    NULL
};

/* In the texts @ stands for the tool's name, % for the default ring size. */
static void put(const char *line, const struct tool *tool)
{
    for (; *line; line++) {
        if (*line == '@')
            fputs(tool->name, stdout);
        else if (*line == '%')
            fputs(tool->buffer_size, stdout);
        else
            putchar(*line);
    }
    putchar('\n');
}

static void put_all(const char *const *lines, const struct tool *tool)
{
    for (; *lines; lines++)
        put(*lines, tool);
}

void print_help(const struct tool *tool, bool brief)
{
    puts(tool->about);
    put_all(options_text, tool);
    if (brief) {
        put("\nExamples, exit codes and the rest: @ --help", tool);
        return;
    }
    put_all(tool->examples, tool);
    put_all(more_text, tool);
}
