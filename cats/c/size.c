#include "size.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The largest ring of the protocol. Larger requests are capped, not rejected. */
#define LARGEST_RING ((size_t)1 << 20)
/* A century counts as forever. */
#define LONGEST (100.0 * 365.0 * 86400.0)

const char *read_bytes(const char *text, size_t *bytes)
{
    size_t digits = strspn(text, "0123456789"), unit = 1, count = 0;
    const char *suffix = text + digits;

    if (*suffix == 'k' || *suffix == 'K')
        unit = 1 << 10;
    else if (*suffix == 'm' || *suffix == 'M')
        unit = 1 << 20;
    if (digits == 0 || (unit > 1 ? suffix[1] : suffix[0]) != '\0')
        return "is not a number of bytes, such as 65536, 64K or 1M";
    for (size_t n = 0; n < digits && count <= LARGEST_RING; n++)
        count = 10 * count + (size_t)(text[n] - '0');
    count = count > LARGEST_RING ? LARGEST_RING : count * unit;
    if (count == 0)
        return "is too small, a ring has at least 1 byte";
    *bytes = count > LARGEST_RING ? LARGEST_RING : count;
    return NULL;
}

/* Parses a number of seconds, with an optional fraction. */
static bool number_of_seconds(const char *text, int64_t *time)
{
    char *end;
    double number;

    if (*text == '\0' || text[strspn(text, "0123456789.")] != '\0')
        return false;
    number = strtod(text, &end);
    if (end == text || *end != '\0')
        return false;
    if (number > LONGEST)
        number = LONGEST;
    *time = (int64_t)(number * (double)SECOND + 0.5);
    return true;
}

const char *read_seconds(const char *text, int64_t *time)
{
    return number_of_seconds(text, time) && *time > 0 ? NULL : "is not a positive number of seconds, such as 10 or 0.5";
}

const char *read_seconds_or_zero(const char *text, int64_t *time)
{
    return number_of_seconds(text, time) ? NULL : "is not a number of seconds, such as 0, 10 or 0.5";
}

struct words human(uint64_t bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
    struct words words;
    double number = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(words.text, sizeof(words.text), "%" PRIu64 " bytes", bytes);
        return words;
    }
    for (; number >= 1024 && unit + 1 < sizeof(units) / sizeof(*units); unit++)
        number /= 1024;
    snprintf(words.text, sizeof(words.text), "%.1f %s", number, units[unit]);
    return words;
}

struct words duration(int64_t time)
{
    static const struct {
        int64_t size;
        int digits;
        const char *name;
    } units[] = { { SECOND, 9, "s" }, { MILLISECOND, 6, "ms" }, { 1000, 3, "\u00b5s" }, { 1, 0, "ns" } };
    struct words words;
    size_t unit = 0;
    int length;

    while (time < units[unit].size && units[unit].size > 1)
        unit++;
    length = snprintf(words.text, sizeof(words.text), "%" PRId64, time / units[unit].size);
    if (time % units[unit].size != 0) {
        length += snprintf(words.text + length, sizeof(words.text) - (size_t)length, ".%0*" PRId64,
                           units[unit].digits, time % units[unit].size);
        while (words.text[length - 1] == '0')
            length--;
    }
    snprintf(words.text + length, sizeof(words.text) - (size_t)length, "%s", units[unit].name);
    return words;
}

int milliseconds(int64_t time)
{
    int64_t rounded = (time + MILLISECOND - 1) / MILLISECOND;

    return rounded > INT_MAX ? -1 : (int)rounded;
}

int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}
