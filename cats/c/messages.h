/* Output on standard error. Write errors are ignored. */
#ifndef CATS_MESSAGES_H
#define CATS_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes. */
enum {
    /* The conversation ended and everything was delivered, or a signal ended it. */
    EXIT_DONE = 0,
    /* Any other error. */
    EXIT_ERROR = 1,
    /* Invalid command line. */
    EXIT_USAGE = 2,
    /* The peer was killed or crashed. */
    EXIT_PEER_DIED = 3,
    /* The peer failed, or left before consuming everything. */
    EXIT_PEER_FAILED = 4,
    /* Timeout. */
    EXIT_TIMED_OUT = 124,
};

/* A failure with its exit code and message; exit code 0 means no failure. */
struct failure {
    int exit;
    /* Whether the peer caused the failure, so that the next client may succeed. */
    bool peers_fault;
    /* The whole message, allocated. */
    char *text;
};

static const struct failure NO_FAILURE = { EXIT_DONE, false, 0 };

/* The text of the library's last error in this thread, valid until the next call; and that error as a failure
 * while doing something. */
const char *library_error(void);
struct failure library_failure(const char *doing);
/* A failure of standard input or output; stream names it in the message. */
struct failure stream_failure(const char *stream, int error);
/* A failed system call. */
struct failure system_failure(const char *doing, int error);
/* The peer left before consuming everything: standard input has a rest, or the last bytes sent are still in the
 * ring. No failure if it consumed everything. */
struct failure undelivered_failure(bool rest, size_t unconsumed);
/* The idle timeout expired. */
struct failure idle_failure(int64_t timeout);
/* Frees the text. */
void forget(struct failure *failure);

/* Verbosity. */
struct report {
    const char *name;
    bool quiet, verbose;
};

/* Lines for scripts, printed unmodified. */
void say_lines(const struct report *report, const char *lines);
/* A line omitted by --quiet. */
void say_note(const struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line for --verbose. */
void say_detail(const struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A warning. */
void say_warning(const struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A warning: standard input is unusable, so nothing is sent. */
void warn_of_no_input(const struct report *report, int error);
/* The failure that ends the tool. */
void say_failure(const struct report *report, const struct failure *failure);
/* A command-line error. */
void say_usage_error(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
