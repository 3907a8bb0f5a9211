/* vchan-rs's additions to libxenvchan, and its stronger guarantees. Both ends live in this process. */
#include <vchan-rs.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)
/* -1 with this errno, and a text that names the call. */
#define FAILS(call, error) (errno = 0, (call) == -1 && errno == (error) && strstr(#call, failed_call()))

static struct libxenvchan *server, *client;

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "extensions.c:%d: failed: %s (errno %s, \"%s\")\n", line, what, strerror(errno), vchan_rs_last_error());
        exit(1);
    }
}

static const char *failed_call(void)
{
    static char name[64];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(vchan_rs_last_error(), ":"), vchan_rs_last_error());
    return name;
}

static void open_pair(size_t read_min, size_t write_min)
{
    server = libxenvchan_server_init(NULL, 0, "/vchan/extensions", read_min, write_min);
    EXPECT(server != NULL);
    client = libxenvchan_client_init(NULL, 0, "/vchan/extensions");
    EXPECT(client != NULL);
}

static void close_pair(void)
{
    libxenvchan_close(client);
    libxenvchan_close(server);
    server = client = NULL;
}

static int is_readable(struct libxenvchan *ctrl)
{
    struct pollfd poller = { .fd = libxenvchan_fd_for_select(ctrl), .events = POLLIN };

    return poll(&poller, 1, 0) == 1;
}

static void options(void)
{
    struct vchan_rs_options o = { .size = sizeof(o), .transport = "unix", .timeout_ms = 50, .flags = VCHAN_RS_BLOCKING };
    char path[600];

    EXPECT(!vchan_rs_client_init(0, "/vchan/nobody", &o) && errno == ETIMEDOUT);
    EXPECT(!vchan_rs_client_init(0, "/vchan/nobody", NULL) && errno == ENOENT);
    EXPECT(strstr(vchan_rs_last_error(), "/vchan/nobody") != NULL);
    EXPECT(!vchan_rs_server_init(0, "/vchan/options", 1, 1, &o) && errno == ETIMEDOUT);
    o.transport = "tcp";
    EXPECT(!vchan_rs_client_init(0, "/vchan/nobody", &o) && errno == EINVAL);
    o.transport = NULL;
    o.size = 3;
    EXPECT(!vchan_rs_client_init(0, "/vchan/nobody", &o) && errno == EINVAL);
    o.size = sizeof(o) + 8;
    EXPECT(!vchan_rs_client_init(0, "/vchan/nobody", &o) && errno == EINVAL);
    o.size = sizeof(o);
    o.flags = 1u << 31;
    EXPECT(!vchan_rs_client_init(0, "/vchan/nobody", &o) && errno == EINVAL);
    o.flags = VCHAN_RS_BLOCKING | VCHAN_RS_PERSIST;
    o.timeout_ms = 0;
    o.spin_us = -1;
    /* A path longer than any buffer of Xen's library, used whole. */
    memset(path, 'p', sizeof(path));
    memcpy(path, "/vchan/", 7);
    path[sizeof(path) - 1] = '\0';
    for (size_t n = 100; n < sizeof(path) - 1; n += 100)
        path[n] = '/';
    server = vchan_rs_server_init(0, path, 1, 1, &o);
    EXPECT(server && server->blocking && server->server_persist && !strcmp(server->xs_path, path));
    EXPECT(libxenvchan_is_open(server) == 1);
    server->server_persist = 0;
    EXPECT(libxenvchan_is_open(server) == 2);
    path[sizeof(path) - 2] = 'q';
    EXPECT(!libxenvchan_client_init(NULL, 0, path) && errno == ENOENT);
    path[sizeof(path) - 2] = 'p';
    client = libxenvchan_client_init(NULL, 0, path);
    EXPECT(client != NULL);
    EXPECT(vchan_rs_accept(server, 5000) == 0);
    close_pair();
}

static void refusals(void)
{
    struct libxenvchan *next;
    char byte = 0;

    EXPECT(!libxenvchan_server_init(NULL, -1, "/vchan/x", 1, 1) && errno == EINVAL);
    EXPECT(!libxenvchan_server_init(NULL, 0x7FF0, "/vchan/x", 1, 1) && errno == EINVAL);
    EXPECT(!libxenvchan_client_init(NULL, 65536, "/vchan/x") && errno == EINVAL);
    EXPECT(!libxenvchan_server_init(NULL, 0, "/vchan/x", (1 << 20) + 1, 1) && errno == EINVAL);
    EXPECT(!libxenvchan_server_init(NULL, 0, NULL, 1, 1) && errno == EINVAL);
    EXPECT(!libxenvchan_client_init(NULL, 0, "/vchan/\xff") && errno == EINVAL);
    open_pair(4096, 4096);
    EXPECT(!libxenvchan_client_init(NULL, 0, "/vchan/extensions") && errno == EBUSY);
    /* A server that has its client no longer needs the name. */
    EXPECT((next = libxenvchan_server_init(NULL, 0, "/vchan/extensions", 1, 1)) != NULL);
    EXPECT(!libxenvchan_server_init(NULL, 0, "/vchan/extensions", 1, 1) && errno == EADDRINUSE);
    libxenvchan_close(next);
    EXPECT(FAILS(libxenvchan_read(server, NULL, 1), EINVAL));
    EXPECT(libxenvchan_read(server, NULL, 0) == 0);
    EXPECT(libxenvchan_read(server, &byte, SIZE_MAX) == 0);
    client->blocking = 1;
    EXPECT(FAILS(libxenvchan_write(client, &byte, (size_t)INT_MAX + 1), EINVAL));
    EXPECT(FAILS(libxenvchan_send(client, &byte, SIZE_MAX), EMSGSIZE));
    EXPECT(FAILS(libxenvchan_recv(client, &byte, 4097), EMSGSIZE));
    EXPECT(FAILS(libxenvchan_write(NULL, &byte, 1), EINVAL));
    EXPECT(FAILS(vchan_rs_borrow(NULL, NULL, 1, 0), EINVAL));
    EXPECT(FAILS(vchan_rs_read_to_fd(client, -1, 1, 0), EINVAL));
    EXPECT(libxenvchan_is_open(NULL) == 0 && errno == EINVAL);
    /* Not declared by Xen's header. */
    close_xs_srv(server);
    close_pair();
    libxenvchan_close(NULL);
}

static void timed(void)
{
    char data[10000];

    open_pair(4096, 4096);
    EXPECT(FAILS(vchan_rs_read(server, data, 10, 0), EAGAIN));
    EXPECT(FAILS(vchan_rs_read(server, data, 10, 20), ETIMEDOUT));
    while (vchan_rs_wait(server, 0) == 0)
        ; /* the client's connect event */
    EXPECT(FAILS(vchan_rs_wait(server, 0), ETIMEDOUT));
    EXPECT(FAILS(vchan_rs_wait(server, 20), ETIMEDOUT));
    memset(data, 'x', sizeof(data));
    EXPECT(vchan_rs_write(client, data, sizeof(data), 20) == 4096);
    EXPECT(FAILS(vchan_rs_write(client, data, 1, 0), EAGAIN));
    EXPECT(FAILS(vchan_rs_write(client, data, 1, 20), ETIMEDOUT));
    EXPECT(vchan_rs_read(server, data, sizeof(data), 0) == 4096);
    EXPECT(vchan_rs_write(client, "last", 4, -1) == 4);
    EXPECT(vchan_rs_notify(client) == 0);
    libxenvchan_close(client);
    EXPECT(vchan_rs_read(server, data, sizeof(data), -1) == 4 && !memcmp(data, "last", 4));
    EXPECT(FAILS(vchan_rs_read(server, data, 1, -1), EPIPE));
    EXPECT(FAILS(vchan_rs_write(server, data, 1, -1), EPIPE));
    libxenvchan_close(server);
}

static void descriptors(void)
{
    int in[2], out[2];
    char data[64];

    open_pair(4096, 4096);
    EXPECT(pipe(in) == 0 && pipe(out) == 0);
    EXPECT(write(in[1], "through the ring", 16) == 16);
    EXPECT(FAILS(vchan_rs_read_to_fd(server, out[1], 100, 0), EAGAIN));
    EXPECT(FAILS(vchan_rs_read_to_fd(server, out[1], 100, 20), ETIMEDOUT));
    EXPECT(vchan_rs_write_from_fd(client, in[0], 7, -1) == 7);
    EXPECT(vchan_rs_write_from_fd(client, in[0], 4096, -1) == 9);
    EXPECT(vchan_rs_read_to_fd(server, out[1], 100, -1) == 16);
    EXPECT(read(out[0], data, sizeof(data)) == 16 && !memcmp(data, "through the ring", 16));
    /* EOF of the file is worth polling for, though the ring has space. */
    EXPECT(write(in[1], "more", 4) == 4);
    close(in[1]);
    EXPECT(libxenvchan_fd_for_select(client) >= 0);
    while (vchan_rs_wait(client, 0) == 0)
        ; /* earlier events */
    EXPECT(!is_readable(client));
    EXPECT(vchan_rs_write_from_fd(client, in[0], 4096, 0) == 4);
    EXPECT(is_readable(client) && libxenvchan_wait(client) == 0);
    EXPECT(vchan_rs_write_from_fd(client, in[0], 4096, -1) == 0);
    EXPECT(vchan_rs_read_to_fd(server, out[1], 100, -1) == 4);
    close(in[0]);
    EXPECT(FAILS(vchan_rs_write_from_fd(client, in[0], 4096, -1), EBADF));
    close(out[0]);
    close(out[1]);
    close_pair();
}

static size_t copy_out(char *to, const struct iovec *parts)
{
    memcpy(to, parts[0].iov_base, parts[0].iov_len);
    memcpy(to + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    return parts[0].iov_len + parts[1].iov_len;
}

static void in_the_ring(void)
{
    struct iovec parts[2];
    char data[4096];

    open_pair(4096, 4096);
    EXPECT(FAILS(vchan_rs_borrow(server, parts, 1, 0), EAGAIN));
    EXPECT(FAILS(vchan_rs_borrow(server, parts, 0, 0), EINVAL));
    EXPECT(FAILS(vchan_rs_borrow(server, parts, 4097, -1), EMSGSIZE));
    EXPECT(vchan_rs_reserve(client, parts, 4096, 0) == 4096);
    EXPECT(vchan_rs_reserve(client, parts, 4000, 0) == 4096);
    EXPECT(parts[0].iov_len == 4096 && parts[1].iov_len == 0);
    EXPECT(libxenvchan_data_ready(server) == 0);
    memset(parts[0].iov_base, 'a', 4000);
    EXPECT(vchan_rs_commit(client, 4000) == 0);
    EXPECT(FAILS(vchan_rs_commit(client, 97), EINVAL));
    EXPECT(FAILS(vchan_rs_reserve(client, parts, 97, 20), ETIMEDOUT));
    EXPECT(vchan_rs_borrow(server, parts, 4000, -1) == 4000 && ((char *)parts[0].iov_base)[3999] == 'a');
    EXPECT(FAILS(vchan_rs_consume(server, 4001), EINVAL));
    EXPECT(vchan_rs_consume(server, 3990) == 0);
    EXPECT(vchan_rs_reserve(client, parts, 1, 0) == 4086);
    /* Across the ring's end. */
    EXPECT(parts[0].iov_len == 96 && parts[1].iov_len == 3990);
    memset(parts[0].iov_base, 'b', 96);
    memset(parts[1].iov_base, 'c', 104);
    EXPECT(vchan_rs_commit(client, 200) == 0);
    EXPECT(vchan_rs_borrow(server, parts, 210, -1) == 210);
    EXPECT(copy_out(data, parts) == 210 && data[9] == 'a' && data[10] == 'b' && data[105] == 'b' && data[106] == 'c');
    libxenvchan_close(client);
    EXPECT(vchan_rs_borrow(server, parts, 1, -1) == 210);
    EXPECT(FAILS(vchan_rs_borrow(server, parts, 211, -1), EPIPE));
    EXPECT(vchan_rs_consume(server, 210) == 0);
    EXPECT(FAILS(vchan_rs_reserve(server, parts, 1, -1), EPIPE));
    libxenvchan_close(server);
}

static void *late_server(void *arg)
{
    usleep(20000);
    server = libxenvchan_server_init(NULL, 0, arg, 1, 1);
    return NULL;
}

static void waiting_client(void)
{
    struct vchan_rs_options o = { .size = sizeof(o), .timeout_ms = -1 };
    static char path[] = "/vchan/late";
    pthread_t thread;

    EXPECT(pthread_create(&thread, NULL, late_server, path) == 0);
    client = vchan_rs_client_init(0, path, &o);
    EXPECT(client != NULL);
    pthread_join(thread, NULL);
    EXPECT(server != NULL);
    close_pair();
}

static void *blocked(void *arg)
{
    char byte;
    int ret = libxenvchan_read(arg, &byte, 1);

    return (void *)(intptr_t)(ret == -1 && errno == ESHUTDOWN);
}

/* Whenever the channel is closed, before, during or after the sleep, the blocked call ends and nothing is used
 * after free (which valgrind would report). Closing before the thread has entered its call would be a bug of the
 * program. */
static void close_under_a_reader(void)
{
    void *ok;

    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        open_pair(1024, 1024);
        server->blocking = 1;
        server->ring->cli_notify = 0;
        EXPECT(pthread_create(&thread, NULL, blocked, server) == 0);
        /* The call is under way when it has requested an event from the client and sleeps. */
        while (!(*(volatile uint8_t *)&server->ring->cli_notify & VCHAN_NOTIFY_WRITE))
            usleep(100);
        usleep(1000 * (round % 5) + 200);
        libxenvchan_close(server);
        pthread_join(thread, &ok);
        EXPECT(ok != NULL);
        EXPECT(libxenvchan_is_open(client) == 0);
        libxenvchan_close(client);
    }
}

static int full_pipe[2];
static volatile int closed;

static void *move_much(void *arg)
{
    return (void *)(intptr_t)(vchan_rs_read_to_fd(arg, full_pipe[1], 6000, -1) == 6000);
}

static void *close_it(void *arg)
{
    libxenvchan_close(arg);
    closed = 1;
    return NULL;
}

/* Closing waits for a call that is accessing the ring. */
static void close_waits_for_a_call(void)
{
    pthread_t mover, closer;
    char data[4096];
    int room, there = 0;
    void *ok;

    open_pair(8192, 1024);
    EXPECT(libxenvchan_write(client, memset(data, 'x', sizeof(data)), 4096) == 4096);
    EXPECT(libxenvchan_write(client, data, 1904) == 1904);
    EXPECT(pipe(full_pipe) == 0);
    room = fcntl(full_pipe[1], F_GETPIPE_SZ);
    for (int n = 4096; n < room; n += 4096)
        EXPECT(write(full_pipe[1], data, 4096) == 4096);
    EXPECT(pthread_create(&mover, NULL, move_much, server) == 0);
    /* One page goes in, then writev() waits for more space. */
    while (there < room) {
        EXPECT(ioctl(full_pipe[0], FIONREAD, &there) == 0);
        usleep(100);
    }
    EXPECT(pthread_create(&closer, NULL, close_it, server) == 0);
    while (libxenvchan_is_open(client))
        usleep(100);
    usleep(20000);
    EXPECT(!closed);
    for (int n = 0; n < room + 1904; n += 1904)
        EXPECT(read(full_pipe[0], data, 1904) > 0);
    pthread_join(mover, &ok);
    pthread_join(closer, NULL);
    EXPECT(ok != NULL && closed);
    close(full_pipe[0]);
    close(full_pipe[1]);
    libxenvchan_close(client);
}

int main(void)
{
    EXPECT(!strcmp(vchan_rs_last_error(), ""));
    EXPECT(strchr(vchan_rs_version(), '.') != NULL);
    options();
    refusals();
    timed();
    descriptors();
    in_the_ring();
    waiting_client();
    close_under_a_reader();
    close_waits_for_a_call();
    puts("extensions: all well");
    return 0;
}
