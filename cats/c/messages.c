#include "messages.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vchan-rs.h>

#include "size.h"

static char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *vtext_of(const char *format, va_list args)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (to) {
        vfprintf(to, format, args);
        fclose(to);
    }
    return text;
}

static char *text_of(const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = vtext_of(format, args);
    va_end(args);
    return text;
}

static const char *system_advice(int error)
{
    switch (error) {
    case ENOSPC:
        return "free space on that file system, or use smaller rings (--buffer-size)";
    case EACCES:
    case EPERM:
        return "check the permissions, or run as another user";
    case EMFILE:
    case ENFILE:
        return "close other files, or raise the limit (ulimit -n)";
    case ENOMEM:
        return "free memory, or use smaller rings (--buffer-size)";
    case ENOENT:
    case ENOTDIR:
        return "check that it exists";
    case ENAMETOOLONG:
        return "choose a shorter path or smaller rings";
    default:
        return "check the system log, then try again";
    }
}

static const char *advice(int kind, int error)
{
    switch (kind) {
    case VCHAN_RS_ERROR_NO_SERVER:
        return "start the server first, or use --wait";
    case VCHAN_RS_ERROR_IN_USE:
        return error == EADDRINUSE ? "stop the other server, or choose another port"
                                   : "another client connected first; use --wait to be next";
    case VCHAN_RS_ERROR_PEER_DIED:
        return "some data may be missing, restart both sides";
    case VCHAN_RS_ERROR_PEER_ABORTED:
        return "some data may be missing, check the other side's messages";
    case VCHAN_RS_ERROR_TIMED_OUT:
        return "check that the other side is running, or allow more time";
    case VCHAN_RS_ERROR_CORRUPT:
        return "the peer is broken or hostile, do not trust its data";
    case VCHAN_RS_ERROR_INVALID:
        return "correct the value";
    case VCHAN_RS_ERROR_REFUSED:
        return "check its owner, or choose another location";
    case VCHAN_RS_ERROR_XENSTORE:
        return "check that xenstored is running and this domain's permissions there";
    case VCHAN_RS_ERROR_SYSTEM:
        return system_advice(error);
    default:
        return "restart both sides";
    }
}

static const char *stream_advice(int error)
{
    switch (error) {
    case EPIPE:
        return "the reader of this output has exited, the peer was notified";
    case ENOSPC:
    case EDQUOT:
        return "free space there and restart, the peer was notified";
    case EISDIR:
        return "give it a file or a pipe";
    case EBADF:
        return "open it before starting this program";
    case EFBIG:
        return "raise the limit on file sizes (ulimit -f)";
    default:
        return "check that file or device, the peer was notified";
    }
}

const char *library_error(void)
{
    const char *what = vchan_rs_last_error(), *colon = strstr(what, ": ");

    /* Omits the name of the library function. */
    return colon ? colon + 2 : what;
}

struct failure library_failure(const char *doing)
{
    int error = errno, kind = vchan_rs_last_error_kind();
    struct failure failure = { EXIT_ERROR, false, NULL };

    if (kind == VCHAN_RS_ERROR_PEER_DIED)
        failure.exit = EXIT_PEER_DIED;
    else if (kind == VCHAN_RS_ERROR_PEER_ABORTED)
        failure.exit = EXIT_PEER_FAILED;
    else if (kind == VCHAN_RS_ERROR_TIMED_OUT)
        failure.exit = EXIT_TIMED_OUT;
    failure.peers_fault = failure.exit != EXIT_ERROR || kind == VCHAN_RS_ERROR_PEER_CLOSED ||
                    kind == VCHAN_RS_ERROR_CORRUPT || kind == VCHAN_RS_ERROR_REFUSED;
    failure.text = text_of("%s: %s; %s", doing, library_error(), advice(kind, error));
    return failure;
}

struct failure stream_failure(const char *stream, int error)
{
    return (struct failure){ EXIT_ERROR, false, text_of("%s: %s; %s", stream, strerror(error), stream_advice(error)) };
}

struct failure system_failure(const char *doing, int error)
{
    return (struct failure){ EXIT_ERROR, false, text_of("%s: %s; %s", doing, strerror(error), system_advice(error)) };
}

struct failure undelivered_failure(bool rest, size_t unconsumed)
{
    static const char format[] = "conversation: the peer left %s; check the other side's messages";
    struct failure failure = { EXIT_PEER_FAILED, true, NULL };
    char *what = NULL;

    if (!rest && !unconsumed)
        return NO_FAILURE;
    if (unconsumed)
        what = text_of("%swithout taking the last %zu bytes%s", rest ? "before the end of standard input, " : "",
                       unconsumed, rest ? " sent" : "");
    failure.text = text_of(format, what ? what : "before the end of standard input");
    free(what);
    return failure;
}

struct failure idle_failure(int64_t timeout)
{
    char *text = text_of("conversation: no data moved for %s; check that the other side is alive, or raise "
                         "--timeout",
                         duration(timeout).text);

    return (struct failure){ EXIT_TIMED_OUT, true, text };
}

void forget(struct failure *failure)
{
    free(failure->text);
    *failure = NO_FAILURE;
}

/* One write per line, so that lines of several processes don't mix. */
static void say(char *text)
{
    size_t done = 0, size = text ? strlen(text) : 0;

    while (done < size) {
        ssize_t count = write(STDERR_FILENO, text + done, size - done);

        if (count < 0 && errno != EINTR)
            break;
        done += count < 0 ? 0 : (size_t)count;
    }
    free(text);
}

/* One line; escapes control characters, including their two-byte UTF-8 forms. */
static void put_line(FILE *to, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        static const char short_names[] = "\tt\nn\rr";
        const char *name = *at < 0x20 ? strchr(short_names, *at) : NULL;

        if (name)
            fprintf(to, "\\%c", name[1]);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(to, "\\u{%x}", *at);
        else if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
            fprintf(to, "\\u{%x}", *++at);
        else
            fputc(*at, to);
    }
}

static void say_line(const char *name, const char *line, const char *end)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (!to)
        return;
    fprintf(to, "%s: ", name);
    put_line(to, line ? line : "no memory for the message");
    fprintf(to, "%s\n", end);
    fclose(to);
    say(text);
}

void say_lines(const struct report *report, const char *lines)
{
    if (!report->quiet)
        say(text_of("%s", lines));
}

static void say_more(const struct report *report, const char *format, va_list args)
{
    char *line = vtext_of(format, args);

    say_line(report->name, line, "");
    free(line);
}

void say_note(const struct report *report, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (!report->quiet)
        say_more(report, format, args);
    va_end(args);
}

void say_warning(const struct report *report, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = vtext_of(format, args);
    va_end(args);
    say_note(report, "warning: %s", text ? text : "no memory for the message");
    free(text);
}

void say_detail(const struct report *report, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (report->verbose)
        say_more(report, format, args);
    va_end(args);
}

void warn_of_no_input(const struct report *report, int error)
{
    say_warning(report, "standard input: %s; continuing to receive without it", strerror(error));
}

void say_failure(const struct report *report, const struct failure *failure)
{
    say_line(report->name, failure->text, "");
}

void say_usage_error(const char *name, const char *format, ...)
{
    va_list args;
    char *line, *end = text_of("; see %s --help", name);

    va_start(args, format);
    line = vtext_of(format, args);
    va_end(args);
    say_line(name, line, end ? end : "");
    free(line);
    free(end);
}
