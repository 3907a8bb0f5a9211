/* Errors go to the program's logger, of Xen's libxentoollog, and nowhere without one. A cancelled thread does not
 * end in the logger. */
#include <libxenvchan.h>
#include <xentoollog.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)

static int logged, returned;

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "logger.c:%d: failed: %s\n", line, what);
        exit(1);
    }
}

/* A logger that writes is a cancellation point, too. */
static void message(struct xentoollog_logger *logger, xentoollog_level level, int errnoval, const char *context, const char *format,
                    va_list args)
{
    (void)logger, (void)level, (void)errnoval, (void)context, (void)format, (void)args;
    logged++;
    EXPECT(pthread_cancel(pthread_self()) == 0);
    pthread_testcancel();
}

static void progress(struct xentoollog_logger *logger, const char *context, const char *doing, int percent, unsigned long done,
                     unsigned long total)
{
    (void)logger, (void)context, (void)doing, (void)percent, (void)done, (void)total;
}

static void destroy(struct xentoollog_logger *logger)
{
    (void)logger;
}

static struct xentoollog_logger own_logger = {message, progress, destroy};

static void *cancelled(void *channel)
{
    char byte;

    EXPECT(libxenvchan_read(channel, &byte, 1) == -1 && errno == EPIPE);
    returned = 1;
    pthread_testcancel();
    return NULL;
}

static void cancel_in_logger(void)
{
    struct libxenvchan *server = libxenvchan_server_init(&own_logger, 0, "/vchan/logger", 4096, 4096);
    struct libxenvchan *client = libxenvchan_client_init(NULL, 0, "/vchan/logger");
    pthread_t thread;
    void *end;

    EXPECT(server && client && logged == 0);
    libxenvchan_close(client);
    EXPECT(libxenvchan_wait(server) == 0 && libxenvchan_is_open(server) == 0);
    EXPECT(pthread_create(&thread, NULL, cancelled, server) == 0 && pthread_join(thread, &end) == 0);
    EXPECT(end == PTHREAD_CANCELED && logged == 1 && returned);
    libxenvchan_close(server);
}

int main(void)
{
    struct xentoollog_logger_stdiostream *logger = xtl_createlogger_stdiostream(stdout, XTL_ERROR, 0);

    alarm(60);
    if (libxenvchan_client_init(NULL, 0, "/vchan/silent") || libxenvchan_client_init((struct xentoollog_logger *)logger, 0, "/vchan/told"))
        return 1;
    xtl_logger_destroy((struct xentoollog_logger *)logger);
    cancel_in_logger();
    return 0;
}
