/* Calls that must fail, and how they report it: init, huge sizes, NULL, an interrupting signal. */
#include "suite.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void show_init(const char *at, struct libxenvchan *ctrl, int error)
{
    if (ctrl)
        result(at, "channel=yes");
    else
        result(at, "channel=no errno=%s", errno_name(error));
    libxenvchan_close(ctrl);
}

static void try_server(const char *at, size_t read_min, size_t write_min)
{
    struct libxenvchan *ctrl;
    char path[64];

    new_path(path, sizeof(path));
    errno = 0;
    ctrl = libxenvchan_server_init(NULL, 0, path, read_min, write_min);
    show_init(at, ctrl, errno);
}

static void init_sizes(const void *arg)
{
    (void)arg;
    try_server("read-1MiB", RING_MAX, 1);
    try_server("read-1MiB+1", RING_MAX + 1, 1);
    try_server("write-1MiB+1", 1, RING_MAX + 1);
    try_server("both-1MiB+1", RING_MAX + 1, RING_MAX + 1);
    try_server("read-max", SIZE_MAX, 1);
    try_server("zero", 0, 0);
}

static void try_client(const char *at, const char *path)
{
    struct libxenvchan *ctrl;

    errno = 0;
    ctrl = libxenvchan_client_init(NULL, 0, path);
    show_init(at, ctrl, errno);
}

static void no_server(const void *arg)
{
    struct end e = { .role = SERVER };

    (void)arg;
    new_path(e.path, sizeof(e.path));
    try_client("never", e.path);
    open_server(&e, 4096, 4096);
    close_end(&e);
    try_client("closed", e.path);
    try_client("empty-path", "");
}

/* A path reused after close. */
static void same_path(const void *arg)
{
    struct end e = { .role = SERVER }, again;

    (void)arg;
    new_path(e.path, sizeof(e.path));
    open_server(&e, 4096, 4096);
    close_end(&e);
    again = e;
    errno = 0;
    again.ctrl = libxenvchan_server_init(NULL, 0, e.path, 1024, 1024);
    show_init("after-close", again.ctrl, errno);
}

static void long_path_side(struct end *e, const void *arg)
{
    char path[300];
    size_t len = *(const size_t *)arg;

    snprintf(path, sizeof(path), "%s/", e->path);
    for (size_t at = strlen(path); at < len; at++)
        path[at] = (char)('a' + at % 26), path[at + 1] = '\0';
    if (e->role == SERVER) {
        errno = 0;
        e->ctrl = libxenvchan_server_init(NULL, 0, path, 4096, 4096);
        result("server", "channel=%s", e->ctrl ? "yes" : "no");
        meet(e);
        meet(e);
        libxenvchan_close(e->ctrl);
    } else {
        meet(e);
        errno = 0;
        e->ctrl = libxenvchan_client_init(NULL, 0, path);
        result("client", "channel=%s", e->ctrl ? "yes" : "no");
        libxenvchan_close(e->ctrl);
        meet(e);
    }
}

static void long_path(const void *arg) { with_peer(SERVER, long_path_side, long_path_side, arg); }

/* A second client while the first is connected. */
static void second_client(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    if (!e->is_peer) {
        struct libxenvchan *second;
        errno = 0;
        second = libxenvchan_client_init(NULL, 0, e->path);
        result("second", "channel=%s", second ? "yes" : "no");
        libxenvchan_close(second);
        result("first", "wrote=%zu open=%d", put_some(e, 10), libxenvchan_is_open(e->ctrl));
    }
    meet(e);
    if (e->is_peer)
        check(take_some(e, 100) == 10, "the first client's data did not arrive");
    meet(e);
    close_end(e);
}

static void run_second_client(const void *arg) { with_peer(CLIENT, second_client, second_client, arg); }

/* Sizes that exceed INT_MAX. The buffer is as large as the ring. */
static void huge(struct end *e, const void *arg)
{
    static uint8_t data[8192];
    const size_t size = *(const size_t *)arg;
    int ret;

    open_both(e, 4096, 4096);
    if (e->is_peer) {
        check(put_some(e, 100) == 100, "no room");
        meet(e);
        meet(e);
        close_end(e);
        return;
    }
    meet(e);
    errno = 0;
    ret = libxenvchan_recv(e->ctrl, data, size);
    result("recv", "%s", outcome(ret, errno));
    errno = 0;
    ret = libxenvchan_read(e->ctrl, data, size);
    result("read", "%s", outcome(ret, errno));
    errno = 0;
    ret = libxenvchan_send(e->ctrl, data, size);
    result("send", "%s", outcome(ret, errno));
    errno = 0;
    ret = libxenvchan_write(e->ctrl, data, size);
    result("write", "%s", outcome(ret, errno));
    e->ctrl->blocking = 1;
    errno = 0;
    ret = libxenvchan_recv(e->ctrl, data, size);
    result("recv-blocking", "%s", outcome(ret, errno));
    errno = 0;
    ret = libxenvchan_send(e->ctrl, data, size);
    result("send-blocking", "%s", outcome(ret, errno));
    meet(e);
    close_end(e);
}

static void run_huge(const void *arg) { with_peer(SERVER, huge, huge, arg); }

static void close_null(const void *arg)
{
    (void)arg;
    libxenvchan_close(NULL);
    result("close", "returned=yes");
}

enum null_call { N_READ, N_RECV, N_WRITE, N_SEND, N_WAIT, N_FD, N_SPACE, N_READY, N_OPEN, N_CALLS };
static const char *const null_names[] = { "read", "recv", "write", "send", "wait", "fd_for_select", "buffer_space", "data_ready", "is_open" };

static int call_with_null(enum null_call call)
{
    char byte = 0;

    switch (call) {
    case N_READ: return libxenvchan_read(NULL, &byte, 1);
    case N_RECV: return libxenvchan_recv(NULL, &byte, 1);
    case N_WRITE: return libxenvchan_write(NULL, &byte, 1);
    case N_SEND: return libxenvchan_send(NULL, &byte, 1);
    case N_WAIT: return libxenvchan_wait(NULL);
    case N_FD: return libxenvchan_fd_for_select(NULL);
    case N_SPACE: return libxenvchan_buffer_space(NULL);
    case N_READY: return libxenvchan_data_ready(NULL);
    default: return libxenvchan_is_open(NULL);
    }
}

/* One test each: the original crashes. */
static void null_channel(const void *arg)
{
    int ret;

    errno = 0;
    ret = call_with_null(*(const enum null_call *)arg);
    result("call", "%s", outcome(ret, errno));
}

static void null_path_server(const void *arg)
{
    struct libxenvchan *ctrl;

    (void)arg;
    errno = 0;
    ctrl = libxenvchan_server_init(NULL, 0, NULL, 1, 1);
    show_init("call", ctrl, errno);
}

static void null_path_client(const void *arg)
{
    struct libxenvchan *ctrl;

    (void)arg;
    errno = 0;
    ctrl = libxenvchan_client_init(NULL, 0, NULL);
    show_init("call", ctrl, errno);
}

static void on_signal(int number)
{
    (void)number;
}

/* A blocked call and a signal with a handler, installed without SA_RESTART. */
static void interrupted(struct end *e, const void *arg)
{
    struct sigaction action = { .sa_handler = on_signal };
    const char *call = arg;
    char byte;
    int ret;

    open_both(e, 4096, 4096);
    if (e->is_peer) {
        meet(e);
        if (watch(e, e->other) == ASLEEP)
            kill(e->other, SIGUSR1);
        if (watch(e, e->other) == ASLEEP) {
            close_end(e);
            hear(e);
            tell(e, 1);
            return;
        }
        hear(e);
        tell(e, 0);
        close_end(e);
        return;
    }
    sigaction(SIGUSR1, &action, NULL);
    if (!strcmp(call, "write") || !strcmp(call, "send"))
        check(put_some(e, RING_MAX) == write_ring(e), "the empty ring did not take all");
    drain_events(e->ctrl);
    e->ctrl->blocking = 1;
    meet(e);
    libxenvchan_data_ready(e->ctrl);
    errno = 0;
    enter_call(e);
    ret = !strcmp(call, "read")    ? libxenvchan_read(e->ctrl, &byte, 1)
          : !strcmp(call, "recv")  ? libxenvchan_recv(e->ctrl, &byte, 1)
          : !strcmp(call, "write") ? libxenvchan_write(e->ctrl, "x", 1)
          : !strcmp(call, "send")  ? libxenvchan_send(e->ctrl, "x", 1)
                                   : libxenvchan_wait(e->ctrl);
    int error = errno;
    leave_call(e);
    tell(e, 0);
    result("call", "%s ended-by=%s", outcome(ret, error), hear(e) ? "peer-closed" : "signal");
    close_end(e);
}

static void run_interrupted(const void *arg) { with_peer(CLIENT, interrupted, interrupted, arg); }

void add_error_tests(void)
{
    static const size_t long_length = 100, longer_length = 200, two_gib = (size_t)1 << 31, wrapping = ((size_t)1 << 32) + 1;
    static enum null_call null_calls[N_CALLS];
    static const char *const calls[] = { "read", "recv", "write", "send", "wait" };

    add_test(init_sizes, NULL, "init.sizes");
    add_test(no_server, NULL, "init.no-server");
    add_test(same_path, NULL, "init.same-path");
    add_test(long_path, &long_length, "init.path-100");
    add_test(long_path, &longer_length, "init.path-200");
    add_test(run_second_client, NULL, "init.second-client");
    add_test(run_huge, &two_gib, "sizes.2GiB");
    add_test(run_huge, &wrapping, "sizes.4GiB+1");
    add_test(close_null, NULL, "null.close");
    for (size_t n = 0; n < N_CALLS; n++) {
        null_calls[n] = n;
        add_test(null_channel, &null_calls[n], "null.%s", null_names[n]);
    }
    add_test(null_path_server, NULL, "null.server-path");
    add_test(null_path_client, NULL, "null.client-path");
    for (size_t n = 0; n < sizeof(calls) / sizeof(*calls); n++)
        add_test(run_interrupted, calls[n], "interrupted.%s", calls[n]);
}
