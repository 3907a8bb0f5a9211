#include "line.h"

#include <stdint.h>
#include <string.h>

#include "similar.h"

const char *const option_names[KEYS] = {
    [LISTEN] = "listen", [PATH] = "path", [BUFFER_SIZE] = "buffer-size", [RECV_ONLY] = "recv-only",
    [SEND_ONLY] = "send-only", [WAIT] = "wait", [LINGER] = "linger", [TIMEOUT] = "timeout", [KEEP] = "keep-listening",
    [QUIET] = "quiet", [VERBOSE] = "verbose", [PROGRESS] = "progress", [HELP] = "help", [VERSION] = "version",
};

static const char letters[KEYS] = {
    [LISTEN] = 'l', [LINGER] = 'q', [KEEP] = 'k', [VERBOSE] = 'v', [HELP] = 'h', [VERSION] = 'V',
};

/* The name of an option's value; NULL if it takes none. Only --wait's is optional. */
static const char *const takes[KEYS] = {
    [PATH] = "PATH", [BUFFER_SIZE] = "BYTES", [WAIT] = "SECONDS", [LINGER] = "SECONDS", [TIMEOUT] = "SECONDS",
};

/* Whether it begins like an option; negative numbers don't. */
static bool is_option(const char *argument)
{
    return argument[0] == '-' && argument[1] && !(argument[1] >= '0' && argument[1] <= '9');
}

static enum key by_name(const char *name, size_t length)
{
    enum key key = 0;

    while (key < KEYS && (strlen(option_names[key]) != length || memcmp(option_names[key], name, length)))
        key++;
    return key;
}

static enum key by_letter(char letter)
{
    enum key key = 0;

    while (key < KEYS && (!letter || letters[key] != letter))
        key++;
    return key;
}

/* The most similar option, or KEYS. */
static enum key similar(const char *name, size_t length)
{
    enum key best = KEYS;
    size_t fewest = SIZE_MAX;

    for (enum key key = 0; key < KEYS; key++) {
        size_t count = slips(name, length, option_names[key]);

        if (count < fewest) {
            fewest = count;
            best = key;
        }
    }
    return best;
}

static bool unknown_name(const struct line *line, const char *name, size_t length)
{
    enum key meant;

    if (length == 1 && by_letter(*name) < KEYS)
        return USAGE_ERROR(line, "unknown option '--%c'; did you mean '-%c'?", *name, *name);
    meant = similar(name, length);
    if (meant < KEYS)
        return USAGE_ERROR(line, "unknown option '--%.*s'; did you mean '--%s'?", (int)length, name,
                           option_names[meant]);
    return USAGE_ERROR(line, "unknown option '--%.*s'", (int)length, name);
}

/* The length of one character of valid UTF-8. */
static size_t width(const char *text)
{
    size_t bytes = 1;

    while (((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes++;
    return bytes;
}

static bool unknown_letter(const struct line *line, const char *all, const char *letter)
{
    size_t bytes = width(letter);
    bool alone = all[bytes] == '\0' && all == letter;
    enum key meant = alone ? KEYS : similar(all, strlen(all));
    char small = *letter >= 'A' && *letter <= 'Z' ? (char)(*letter - 'A' + 'a') : *letter;
    bool other = by_letter(small) < KEYS;

    if (meant < KEYS)
        return USAGE_ERROR(line, "unknown option '-%s'; did you mean '--%s'?", all, option_names[meant]);
    return USAGE_ERROR(line, "unknown option '-%.*s'%s%s%s%s%.1s%s", (int)bytes, letter, alone ? "" : " in '-",
                    alone ? "" : all, alone ? "" : "'", other ? "; did you mean '-" : "", other ? &small : "",
                    other ? "'?" : "");
}

/* Records an option with its value; *uses_next becomes true if the value is the next argument. */
static bool take(struct line *line, enum key key, const char *value, const char *next, bool *uses_next)
{
    const char *name = option_names[key];

    if (value && !takes[key])
        return USAGE_ERROR(line, "--%s takes no value, but '%s' was given", name, value);
    if (!value && takes[key] && key != WAIT) {
        if (!next || is_option(next))
            return USAGE_ERROR(line, "--%s needs a value, %s", name, takes[key]);
        value = next;
        *uses_next = true;
    }
    if (line->given[key])
        return USAGE_ERROR(line, "--%s is given twice", name);
    line->given[key] = true;
    line->values[key] = value;
    return true;
}

/* Parses --name or --name=value. */
static bool take_name(struct line *line, const char *text, const char *next, bool *uses_next)
{
    size_t length = strcspn(text, "=");
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    enum key key = by_name(text, length);

    if (key == KEYS)
        return unknown_name(line, text, length);
    if (key == WAIT && !value && next && !is_option(next))
        line->after_wait = line->count;
    return take(line, key, value, next, uses_next);
}

/* Parses -abc. */
static bool take_letters(struct line *line, const char *all, const char *next, bool *uses_next)
{
    for (const char *letter = all; *letter; letter++) {
        enum key key = by_letter(*letter);
        bool takes_rest = key < KEYS && takes[key] && letter[1];

        if (key == KEYS)
            return unknown_letter(line, all, letter);
        line->brief |= key == HELP;
        if (!take(line, key, takes_rest ? letter + 1 : NULL, next, uses_next))
            return false;
        if (takes[key])
            break;
    }
    return true;
}

static void take_word(struct line *line, const char *word)
{
    if (line->count < (int)(sizeof(line->words) / sizeof(*line->words)))
        line->words[line->count] = word;
    line->count++;
}

/* The number of continuation bytes after the first byte of a character, and the range of the second byte; -1 if
 * the byte begins no character. */
static int tail_of(unsigned char first, unsigned char *least, unsigned char *most)
{
    *least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0x80)
        return 0;
    if (first < 0xc2 || first > 0xf4)
        return -1;
    return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

static bool is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at) {
        unsigned char least, most;
        int tail = tail_of(*at++, &least, &most);

        if (tail < 0)
            return false;
        for (; tail > 0; tail--, at++) {
            if (*at < least || *at > most)
                return false;
            least = 0x80;
            most = 0xbf;
        }
    }
    return true;
}

bool read_line(struct line *line, int argc, char **argv)
{
    bool only_words = false;

    line->after_wait = -1;
    for (int n = 1; n < argc; n++)
        if (!is_utf8(argv[n]))
            return USAGE_ERROR(line, "argument %d is not valid UTF-8", n);
    for (int n = 1; n < argc; n++) {
        bool uses_next = false, fine = true;

        if (only_words || !is_option(argv[n]))
            take_word(line, argv[n]);
        else if (!strcmp(argv[n], "--"))
            only_words = true;
        else if (argv[n][1] == '-')
            fine = take_name(line, argv[n] + 2, argv[n + 1], &uses_next);
        else
            fine = take_letters(line, argv[n] + 1, argv[n + 1], &uses_next);
        if (!fine)
            return false;
        if (line->given[HELP] || line->given[VERSION])
            return true;
        n += uses_next;
    }
    return true;
}
