/* Numbers on the command line and in messages: bytes with a suffix, seconds. Times are in nanoseconds. */
#ifndef CATS_SIZE_H
#define CATS_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND INT64_C(1000000000)
#define MILLISECOND INT64_C(1000000)

/* Parse a number of bytes (4096, 64K, 1M), a positive number of seconds, and one that may be zero. Return NULL, or
 * an error text that continues a sentence beginning with the text. */
const char *read_bytes(const char *text, size_t *bytes);
const char *read_seconds(const char *text, int64_t *time);
const char *read_seconds_or_zero(const char *text, int64_t *time);

/* Format a byte count (17 bytes, 1.5 MiB), and a time (1.5s, 300ms). */
struct words {
    char text[48];
};
struct words human(uint64_t bytes);
struct words duration(int64_t time);

/* A time in milliseconds, as the library expects it: rounded up; negative if it exceeds INT_MAX. */
int milliseconds(int64_t time);

/* The monotonic clock. */
int64_t now(void);

#endif
