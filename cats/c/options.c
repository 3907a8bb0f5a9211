#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vchan-rs.h>

#include "messages.h"
#include "size.h"

/* Xen's numbers from 0x7FF0 on have special meanings and name no domain. */
#define LAST_DOMID 0x7FEF

enum key { LISTEN, PATH, BUFFER_SIZE, RECV_ONLY, SEND_ONLY, WAIT, TIMEOUT, KEEP, QUIET, VERBOSE, PROGRESS, HELP, VERSION, KEYS };

static const struct {
    char letter;
    const char *name;
    /* As the usage shows it: empty for none, in brackets where it may be left out. */
    const char *value;
} known[KEYS] = {
    [LISTEN] = { 'l', "listen", "" },
    [PATH] = { 0, "path", " <PATH>" },
    [BUFFER_SIZE] = { 0, "buffer-size", " <BYTES>" },
    [RECV_ONLY] = { 0, "recv-only", "" },
    [SEND_ONLY] = { 0, "send-only", "" },
    [WAIT] = { 0, "wait", "[=<SECONDS>]" },
    [TIMEOUT] = { 0, "timeout", " <SECONDS>" },
    [KEEP] = { 'k', "keep-listening", "" },
    [QUIET] = { 'q', "quiet", "" },
    [VERBOSE] = { 'v', "verbose", "" },
    [PROGRESS] = { 0, "progress", "" },
    [HELP] = { 'h', "help", "" },
    [VERSION] = { 'V', "version", "" },
};

/* Those that contradict each other. */
static const enum key conflicts[][2] = {
    { RECV_ONLY, SEND_ONLY }, { LISTEN, WAIT }, { QUIET, VERBOSE }, { QUIET, PROGRESS },
};

/* Where the reading of a command line stands. */
struct line {
    const struct tool *tool;
    struct options *options;
    /* Which were given, and with what value. */
    bool given[KEYS];
    const char *values[KEYS];
    const char *domid;
};

#define COMPLAIN(line, ...) (say_complaint((line)->tool->name, __VA_ARGS__), false)

static bool take(struct line *line, enum key key, const char *value)
{
    if (line->given[key])
        return COMPLAIN(line, "the argument '--%s%s' cannot be used multiple times", known[key].name, known[key].value);
    line->given[key] = true;
    line->values[key] = value;
    return true;
}

/* Takes the option --name or --name=value. What follows it may be its value: then *used becomes true. */
static bool take_long(struct line *line, const char *name, const char *next, bool *used)
{
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    enum key key = 0;

    while (key < KEYS && (strlen(known[key].name) != length || strncmp(known[key].name, name, length)))
        key++;
    if (key == KEYS)
        return COMPLAIN(line, "unexpected argument '--%.*s' found", (int)length, name);
    if (value && !*known[key].value)
        return COMPLAIN(line, "unexpected value '%s' for '--%s' found; no more were expected", value, known[key].name);
    if (!value && *known[key].value == ' ') {
        if (!next || (next[0] == '-' && next[1]))
            return COMPLAIN(line, "a value is required for '--%s%s' but none was supplied", known[key].name,
                            known[key].value);
        value = next;
        *used = true;
    }
    return take(line, key, value);
}

static bool take_letters(struct line *line, const char *letters)
{
    for (; *letters; letters++) {
        enum key key = 0;

        while (key < KEYS && known[key].letter != *letters)
            key++;
        if (key == KEYS)
            return COMPLAIN(line, "unexpected argument '-%c' found", *letters);
        if (!take(line, key, NULL))
            return false;
    }
    return true;
}

static bool take_word(struct line *line, const char *word)
{
    if (!line->domid)
        line->domid = word;
    else if (!line->options->port)
        line->options->port = word;
    else
        return COMPLAIN(line, "unexpected argument '%s' found", word);
    return true;
}

static bool take_all(struct line *line, int argc, char **argv)
{
    bool only_words = false;

    for (int n = 1; n < argc; n++) {
        const char *word = argv[n];
        bool used = false, fine;

        if (only_words || word[0] != '-' || !word[1])
            fine = take_word(line, word);
        else if (!strcmp(word, "--"))
            fine = only_words = true;
        else if (word[1] == '-')
            fine = take_long(line, word + 2, argv[n + 1], &used);
        else
            fine = take_letters(line, word + 1);
        if (!fine)
            return false;
        if (line->given[HELP] || line->given[VERSION])
            return true;
        n += used;
    }
    return true;
}

static bool fits_together(const struct line *line)
{
    const struct options *options = line->options;
    bool no_point = !options->port && !line->given[PATH], not_listening = line->given[KEEP] && !line->given[LISTEN];

    for (size_t n = 0; n < sizeof(conflicts) / sizeof(*conflicts); n++) {
        enum key a = conflicts[n][0], b = conflicts[n][1];

        if (line->given[a] && line->given[b])
            return COMPLAIN(line, "the argument '--%s%s' cannot be used with '--%s%s'", known[a].name, known[a].value,
                            known[b].name, known[b].value);
    }
    if (options->port && line->given[PATH])
        return COMPLAIN(line, "the argument '[PORT]' cannot be used with '--path <PATH>'");
    if (!line->domid || no_point || not_listening)
        return COMPLAIN(line, "the following required arguments were not provided:%s%s%s",
                        not_listening ? " --listen" : "", line->domid ? "" : " <DOMID>", no_point ? " <PORT>" : "");
    return true;
}

static bool read_domid(const struct line *line, const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
        return COMPLAIN(line, "invalid value '%s' for '<DOMID>': invalid digit found in string", text);
    if (number > LAST_DOMID)
        return COMPLAIN(line, "invalid value '%s' for '<DOMID>': %s is not in 0..=%d", text, text, LAST_DOMID);
    line->options->domid = (int)number;
    return true;
}

/* Complains of the value of an option, if there is something wrong. */
static bool valid(const struct line *line, enum key key, const char *wrong)
{
    return !wrong || COMPLAIN(line, "invalid value '%s' for '--%s%s': %s", line->values[key], known[key].name,
                              known[key].value, wrong);
}

static bool read_values(const struct line *line)
{
    struct options *options = line->options;
    const char *const *values = line->values;

    if (!read_domid(line, line->domid))
        return false;
    if (options->port && (!*options->port || options->port[strspn(options->port, "0123456789_-"
                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")]))
        return COMPLAIN(line, "invalid value '%s' for '[PORT]': a port is one or more letters, digits, '_' or '-'",
                        options->port);
    options->path = values[PATH];
    options->buffer_size = 65536;
    return (!values[BUFFER_SIZE] || valid(line, BUFFER_SIZE, read_bytes(values[BUFFER_SIZE], &options->buffer_size))) &&
           (!values[WAIT] || valid(line, WAIT, read_seconds(values[WAIT], &options->wait_time))) &&
           (!values[TIMEOUT] || valid(line, TIMEOUT, read_seconds(values[TIMEOUT], &options->timeout)));
}

bool read_options(const struct tool *tool, int argc, char **argv, struct options *options, int *exit)
{
    struct line line = { .tool = tool, .options = options };

    memset(options, 0, sizeof(*options));
    *exit = EXIT_USAGE;
    if (!take_all(&line, argc, argv))
        return false;
    if (line.given[HELP] || line.given[VERSION]) {
        if (line.given[HELP])
            print_help(tool);
        else
            printf("%s %s (vchan-rs)\n", tool->name, vchan_rs_version());
        *exit = fflush(stdout) == 0 ? EXIT_DONE : EXIT_ERROR;
        return false;
    }
    if (!fits_together(&line) || !read_values(&line))
        return false;
    options->listen = line.given[LISTEN];
    options->recv_only = line.given[RECV_ONLY];
    options->send_only = line.given[SEND_ONLY];
    options->wait = line.given[WAIT];
    options->keep_listening = line.given[KEEP];
    options->quiet = line.given[QUIET];
    options->verbose = line.given[VERBOSE];
    options->progress = line.given[PROGRESS];
    return true;
}
