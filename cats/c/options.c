#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vchan-rs.h>

#include "line.h"
#include "size.h"

/* Domain IDs from 0x7FF0 on are reserved by Xen. */
#define LAST_DOMID 0x7FEF

/* Mutually exclusive options. */
static const enum key exclusive[][2] = {
    { RECV_ONLY, SEND_ONLY }, { LISTEN, WAIT }, { QUIET, VERBOSE }, { QUIET, PROGRESS },
};

static bool check_combination(const struct line *line)
{
    for (size_t n = 0; n < sizeof(exclusive) / sizeof(*exclusive); n++) {
        enum key one = exclusive[n][0], other = exclusive[n][1];

        if (line->given[one] && line->given[other])
            return USAGE_ERROR(line, "--%s and --%s are mutually exclusive", option_names[one], option_names[other]);
    }
    if (line->given[KEEP] && !line->given[LISTEN])
        return USAGE_ERROR(line, "--keep-listening needs --listen");
    return true;
}

/* In `--wait 5 0 port`, 5 can only be the seconds. In `--wait 5 port` it would be DOMID, which is rarely
 * intended. */
static bool resolve_wait_seconds(struct line *line)
{
    int at = line->after_wait, needed = line->given[PATH] ? 1 : 2;
    const char *word;
    int64_t time;

    if (at < 0 || line->count > needed + 1 || at >= line->count)
        return true;
    word = line->words[at];
    if (read_seconds(word, &time))
        return true;
    if (line->count == needed)
        return USAGE_ERROR(line, "'--wait %s' is ambiguous: for SECONDS write --wait=%s; if %s is %s, write --wait "
                           "after it",
                           word, word, word, at == 0 ? "DOMID" : "PORT");
    if (line->count < needed)
        return true;
    line->values[WAIT] = word;
    line->count--;
    for (int n = at; n < line->count; n++)
        line->words[n] = line->words[n + 1];
    return true;
}

static bool has_place_for_words(const struct line *line)
{
    if (line->count > 1 && line->given[PATH])
        return USAGE_ERROR(line, "PORT '%s' and --path are mutually exclusive", line->words[1]);
    if (line->count > 2)
        return USAGE_ERROR(line, "unexpected argument '%s' after DOMID and PORT", line->words[2]);
    return true;
}

static bool read_domid(const struct line *line, const char *text)
{
    long number = strtol(text, NULL, 10);

    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || number > LAST_DOMID)
        return USAGE_ERROR(line, "invalid DOMID '%s', expected 0 to %d", text, LAST_DOMID);
    return true;
}

static bool read_port(const struct line *line, const char *text)
{
    if (*text == '\0')
        return USAGE_ERROR(line, "PORT is empty");
    if (text[strspn(text, "0123456789_-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")])
        return USAGE_ERROR(line, "invalid PORT '%s', expected letters, digits, '_' and '-'", text);
    return true;
}

/* Reports an invalid value of an option. */
static bool valid(const struct line *line, enum key key, const char *wrong)
{
    return !wrong || USAGE_ERROR(line, "--%s '%s' %s", option_names[key], line->values[key], wrong);
}

static bool read_values(const struct line *line, struct options *options)
{
    const char *const *values = line->values;

    read_bytes(line->tool->buffer_size, &options->buffer_size);
    return (!values[BUFFER_SIZE] || valid(line, BUFFER_SIZE, read_bytes(values[BUFFER_SIZE], &options->buffer_size))) &&
           (!values[WAIT] || valid(line, WAIT, read_seconds(values[WAIT], &options->wait_time))) &&
           (!values[LINGER] || valid(line, LINGER, read_seconds_or_zero(values[LINGER], &options->linger))) &&
           (!values[TIMEOUT] || valid(line, TIMEOUT, read_seconds(values[TIMEOUT], &options->timeout)));
}

static bool is_complete(const struct line *line)
{
    bool no_point = line->count < 2 && !line->given[PATH];

    if (line->count == 0)
        return USAGE_ERROR(line, no_point ? "DOMID and PORT are missing" : "DOMID is missing");
    return !no_point || USAGE_ERROR(line, "PORT is missing");
}

/* Validates and converts the parsed line. */
static bool make_options(struct line *line, struct options *options)
{
    if (!check_combination(line) || !resolve_wait_seconds(line) || !has_place_for_words(line) ||
        (line->count > 0 && !read_domid(line, line->words[0])) ||
        (line->count > 1 && !read_port(line, line->words[1])) || !read_values(line, options) || !is_complete(line))
        return false;
    options->domid = atoi(line->words[0]);
    options->path = line->values[PATH];
    options->port = options->path ? NULL : line->words[1];
    options->listen = line->given[LISTEN];
    options->recv_only = line->given[RECV_ONLY];
    options->send_only = line->given[SEND_ONLY];
    options->wait = line->given[WAIT];
    options->keep_listening = line->given[KEEP];
    options->quiet = line->given[QUIET];
    options->verbose = line->given[VERBOSE];
    options->progress = line->given[PROGRESS];
    return true;
}

bool read_options(const struct tool *tool, int argc, char **argv, struct options *options, int *exit)
{
    struct line line = { .tool = tool };

    memset(options, 0, sizeof(*options));
    options->linger = -1;
    *exit = EXIT_USAGE;
    if (!read_line(&line, argc, argv))
        return false;
    if (line.given[HELP] || line.given[VERSION]) {
        if (line.given[HELP])
            print_help(tool, line.brief);
        else
            printf("%s %s (vchan-rs)\n", tool->name, vchan_rs_version());
        *exit = fflush(stdout) == 0 ? EXIT_DONE : EXIT_ERROR;
        return false;
    }
    return make_options(&line, options);
}
