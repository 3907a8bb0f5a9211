/* both local|global OBJECT NAME OBJECT NAME...: several copies of libxenvchan in one process. Loads each OBJECT
 * (user.c, linked with one of them) in this order, checks that its calls are bound to a library of that NAME, and
 * then moves bytes between this process and a child through each, at the same time. */
#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libxenvchan.h>

#include "both.h"

enum { SECONDS = 60, MOST = 4, BYTES = 20000, RING = 4096 };

static void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("both: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

struct copy {
    const char *name;
    const struct vchan_calls *calls;
    char path[64];
    struct libxenvchan *server;
    pid_t client;
};

static void load(struct copy *copy, const char *object, const char *name, int flags, int number)
{
    union {
        void *symbol;
        const struct vchan_calls *(*function)(void);
    } found;
    void *handle = dlopen(object, RTLD_NOW | flags);
    void *const *call;

    if (!handle)
        fail("%s", dlerror());
    found.symbol = dlsym(handle, "vchan_calls");
    if (!found.symbol)
        fail("%s", dlerror());
    copy->name = name;
    copy->calls = found.function();
    snprintf(copy->path, sizeof(copy->path), "/local/domain/0/data/both/%d", number);
    call = (void *const *)copy->calls;
    for (size_t n = 0; n < sizeof(*copy->calls) / sizeof(*call); n++) {
        Dl_info where;

        if (!dladdr(call[n], &where) || !strstr(where.dli_fname, name))
            fail("call %zu of %s is bound to %s, not to %s", n, object, where.dli_fname, name);
    }
}

static char byte(int at)
{
    return (char)(at % 251);
}

/* Sends all data, with each call in turn, and receives the answer. */
static void be_client(const struct copy *copy)
{
    const struct vchan_calls *calls = copy->calls;
    struct libxenvchan *client = calls->client_init(NULL, 0, copy->path);
    char data[BYTES], answer[4];

    if (!client)
        fail("%s: no client", copy->name);
    client->blocking = 1;
    for (int at = 0; at < BYTES; at++)
        data[at] = byte(at);
    for (int at = 0, round = 0; at < BYTES; at += 1000, round++) {
        if ((round % 2 ? calls->write : calls->send)(client, data + at, 1000) != 1000)
            fail("%s: the client can't write", copy->name);
    }
    if (calls->recv(client, answer, 4) != 4 || memcmp(answer, "well", 4))
        fail("%s: the client got another answer", copy->name);
    calls->close(client);
}

static void begin(struct copy *copy)
{
    const struct vchan_calls *calls = copy->calls;

    /* A failing init closes what it has opened. */
    if (calls->client_init(NULL, 0, copy->path))
        fail("%s: a client without a server", copy->name);
    copy->server = calls->server_init(NULL, 0, copy->path, RING, RING);
    if (!copy->server || calls->is_open(copy->server) != 2)
        fail("%s: no server", copy->name);
    copy->client = fork();
    if (copy->client == -1)
        fail("%s: fork", copy->name);
    if (copy->client == 0) {
        be_client(copy);
        _exit(0);
    }
}

static void serve(struct copy *copy)
{
    const struct vchan_calls *calls = copy->calls;
    struct pollfd fd = { calls->fd_for_select(copy->server), POLLIN, 0 };
    char data[BYTES];
    int got = 0, status;

    while (got < BYTES) {
        int part = calls->read(copy->server, data + got, (size_t)(BYTES - got));

        if (part < 0 || calls->data_ready(copy->server) < 0)
            fail("%s: the server can't read", copy->name);
        got += part;
        /* By its descriptor, and in the library. */
        if (part == 0 && got % 2 == 0 && poll(&fd, 1, -1) != 1)
            fail("%s: poll", copy->name);
        if (part == 0 && calls->wait(copy->server))
            fail("%s: wait", copy->name);
    }
    for (int at = 0; at < BYTES; at++) {
        if (data[at] != byte(at))
            fail("%s: byte %d is wrong", copy->name, at);
    }
    if (calls->buffer_space(copy->server) != RING || calls->write(copy->server, "well", 4) != 4)
        fail("%s: the server can't write", copy->name);
    copy->server->blocking = 1;
    if (calls->read(copy->server, data, 1) != -1 || calls->is_open(copy->server) != 0)
        fail("%s: the client's end was not seen", copy->name);
    calls->close(copy->server);
    if (waitpid(copy->client, &status, 0) != copy->client || status)
        fail("%s: the client ended with %#x", copy->name, status);
}

int main(int count, char **arguments)
{
    struct copy copies[MOST];
    int used = 0;

    if (count < 4 || count % 2 || count > 2 + 2 * MOST)
        fail("usage: both local|global OBJECT NAME...");
    alarm(SECONDS);
    for (int at = 2; at < count; at += 2, used++)
        load(&copies[used], arguments[at], arguments[at + 1], strcmp(arguments[1], "local") ? RTLD_GLOBAL : RTLD_LOCAL, used);
    for (int n = 0; n < used; n++)
        begin(&copies[n]);
    for (int n = 0; n < used; n++)
        serve(&copies[n]);
    puts("both: all well");
    return 0;
}
