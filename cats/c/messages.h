/* What goes to standard error. That it can't be written is no reason to fail, so such errors are passed over. */
#ifndef CATS_MESSAGES_H
#define CATS_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the process exits with. */
enum {
    /* The conversation is over and everything has been delivered, or the user asked for the end. */
    EXIT_DONE = 0,
    /* Something failed. */
    EXIT_ERROR = 1,
    /* The command line makes no sense. */
    EXIT_USAGE = 2,
    /* The peer was killed, or crashed. */
    EXIT_PEER_DIED = 3,
    /* The peer left because of a failure, or before it had got everything. */
    EXIT_PEER_FAILED = 4,
    /* The time allowed ran out. */
    EXIT_TIMED_OUT = 124,
};

/* Why a tool ends with another code than 0. Nothing has failed where that is 0. */
struct failure {
    int exit;
    /* Whether the peer is to blame, so that it may go well with another one. */
    bool peers;
    /* The whole message, allocated. */
    char *text;
};

static const struct failure NO_FAILURE = { EXIT_DONE, false, 0 };

/* What the library's last call in this thread failed with; valid until the next one. And that as a failure, while doing
 * something. */
const char *library_error(void);
struct failure library_failure(const char *doing);
/* A failure of standard input or output, called stream in the message. */
struct failure stream_failure(const char *stream, int error);
/* The operating system refused something. */
struct failure system_failure(const char *doing, int error);
/* The peer left before it had got everything: the rest of standard input, or the last bytes of what was sent. No failure if
 * it got everything. */
struct failure undelivered_failure(bool rest, size_t untaken);
/* Nothing has moved for so long. */
struct failure idle_failure(int64_t timeout);
/* Lets go of the text. */
void forget(struct failure *failure);

/* How much is said. */
struct report {
    const char *name;
    bool quiet, verbose;
};

/* Lines which scripts wait for or evaluate: as they are. */
void say_lines(const struct report *report, const char *lines);
/* A line that --quiet leaves out. */
void say_note(const struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line for people who want to know more. */
void say_detail(const struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line for people who may have meant something else. */
void say_warning(const struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A warning: standard input is none, so that there is nothing to say. */
void warn_of_no_input(const struct report *report, int error);
/* Why it failed. */
void say_failure(const struct report *report, const struct failure *failure);
/* A mistake on the command line. */
void say_complaint(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
