/* Meeting at a port or by a server's lines, clean ends, and ending calls from another thread: what the tools need
 * in addition to libxenvchan. Both ends live in this process. */
#include <vchan-rs.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)
/* -1 with this errno and this kind. */
#define FAILS(call, error, kind) \
    (errno = 0, (call) == -1 && errno == (error) && vchan_rs_last_error_kind() == VCHAN_RS_ERROR_##kind)

static struct libxenvchan *server, *client;

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "ending.c:%d: failed: %s (errno %s, \"%s\")\n", line, what, strerror(errno), vchan_rs_last_error());
        exit(1);
    }
}

static void open_pair(void)
{
    server = libxenvchan_server_init(NULL, 0, "/vchan/ending", 4096, 4096);
    EXPECT(server != NULL);
    client = libxenvchan_client_init(NULL, 0, "/vchan/ending");
    EXPECT(client != NULL);
}

static void ports(void)
{
    struct vchan_rs_options o = { .size = sizeof(o), .flags = VCHAN_RS_PORT };
    char path[64];

    EXPECT(!vchan_rs_server_init(3, "no/port", 1, 1, &o) && vchan_rs_last_error_kind() == VCHAN_RS_ERROR_INVALID);
    EXPECT(!vchan_rs_client_init(3, "port", &o) && vchan_rs_last_error_kind() == VCHAN_RS_ERROR_NO_SERVER);
    server = vchan_rs_server_init(3, "port", 1, 1, &o);
    EXPECT(server && !strcmp(server->xs_path, "/local/domain/0/data/vchan/3/port"));
    EXPECT(vchan_rs_path(server, NULL, 0) == 33);
    EXPECT(vchan_rs_path(server, path, sizeof(path)) == 33 && !strcmp(path, server->xs_path));
    EXPECT(vchan_rs_path(server, path, 7) == 33 && !strcmp(path, "/local"));
    EXPECT(FAILS(vchan_rs_path(server, NULL, 1), EINVAL, INVALID));
    EXPECT(!vchan_rs_server_init(3, "port", 1, 1, &o) && errno == EADDRINUSE);
    EXPECT(vchan_rs_last_error_kind() == VCHAN_RS_ERROR_IN_USE);
    libxenvchan_close(server);
    server = libxenvchan_server_init(NULL, 0, "relative", 1, 1);
    EXPECT(server && !strcmp(server->xs_path, "relative"));
    EXPECT(vchan_rs_path(server, path, sizeof(path)) == 24 && !strcmp(path, "/local/domain/0/relative"));
    libxenvchan_close(server);
}

static void orders(void)
{
    struct vchan_rs_options o = { .size = sizeof(o) };

    server = vchan_rs_server_init(0, "/vchan/orders", 2048, 2048, &o);
    EXPECT(server && server->read.order == 11 && server->write.order == 12);
    libxenvchan_close(server);
    o.flags = VCHAN_RS_OCAML_ORDERS;
    server = vchan_rs_server_init(0, "/vchan/orders", 2048, 2048, &o);
    EXPECT(server && server->read.order == 10 && server->write.order == 12);
    libxenvchan_close(server);
}

/* A client with a configuration that asks for another server. */
static void exported(void)
{
    struct vchan_rs_options o = { .size = sizeof(o) };
    char lines[600], *value, *end;
    ssize_t length;

    server = libxenvchan_server_init(NULL, 0, "/vchan/exported", 1, 1);
    EXPECT(server != NULL);
    length = vchan_rs_export_lines(server, lines, sizeof(lines));
    EXPECT(length > 0 && (size_t)length == strlen(lines) && lines[length - 1] == '\n');
    value = strstr(lines, "XEN_CONFIGURATION=\"");
    EXPECT(value && (end = strstr(value, "\";")));
    *end = '\0';
    o.configuration = value + strlen("XEN_CONFIGURATION=\"");
    client = vchan_rs_client_init(0, "/vchan/elsewhere", &o);
    EXPECT(client && libxenvchan_is_open(server) == 1);
    libxenvchan_close(client);
    libxenvchan_close(server);
    o.configuration = "nonsense";
    EXPECT(!vchan_rs_client_init(0, "/vchan/elsewhere", &o) && errno == EINVAL);
    o.transport = "xen";
    EXPECT(!vchan_rs_client_init(0, "/vchan/elsewhere", &o) && errno == EINVAL);
}

static void leaving(void)
{
    char data[8];

    open_pair();
    EXPECT(vchan_rs_wait_drained(client, 0) == 0 && vchan_rs_pending(client) == 0);
    EXPECT(libxenvchan_write(client, "there", 5) == 5 && libxenvchan_write(server, "here", 4) == 4);
    EXPECT(vchan_rs_pending(client) == 5);
    EXPECT(FAILS(vchan_rs_wait_drained(client, 0), EAGAIN, WOULD_BLOCK));
    EXPECT(FAILS(vchan_rs_wait_drained(client, 20), ETIMEDOUT, TIMED_OUT));
    EXPECT(vchan_rs_leave(client) == 0 && libxenvchan_is_open(server) == 0);
    EXPECT(FAILS(vchan_rs_write(client, "x", 1, 0), ESHUTDOWN, CLOSED));
    EXPECT(vchan_rs_read(client, data, sizeof(data), -1) == 4);
    EXPECT(vchan_rs_read(server, data, sizeof(data), -1) == 5);
    EXPECT(vchan_rs_pending(client) == 0 && vchan_rs_wait_drained(client, -1) == 0);
    EXPECT(FAILS(vchan_rs_read(server, data, sizeof(data), -1), EPIPE, PEER_CLOSED));
    EXPECT(libxenvchan_write(server, "x", 1) == -1);
    libxenvchan_close(server);
    EXPECT(FAILS(vchan_rs_read(client, data, sizeof(data), -1), EPIPE, PEER_CLOSED));
    libxenvchan_close(client);
    open_pair();
    EXPECT(libxenvchan_write(client, "lost", 4) == 4);
    libxenvchan_close(server);
    EXPECT(FAILS(vchan_rs_wait_drained(client, -1), EPIPE, PEER_CLOSED));
    EXPECT(FAILS(vchan_rs_wait_drained(client, 0), EPIPE, PEER_CLOSED));
    libxenvchan_close(client);
}

static void *close_soon(void *closer)
{
    usleep(20000);
    vchan_rs_closer_close(closer);
    return NULL;
}

/* Whether the closer ends a client's wait, a server's wait, a read, and all later calls. */
static void closers(void)
{
    struct vchan_rs_options o = { .size = sizeof(o), .timeout_ms = -1 };
    struct vchan_rs_closer *closer;
    pthread_t thread;
    char byte;

    for (int what = 0; what < 3; what++) {
        closer = vchan_rs_closer_new();
        EXPECT(closer != NULL);
        o.closer = closer;
        if (what == 2) {
            server = libxenvchan_server_init(NULL, 0, "/vchan/closed", 1, 1);
            client = vchan_rs_client_init(0, "/vchan/closed", &o);
            EXPECT(client != NULL);
        }
        EXPECT(pthread_create(&thread, NULL, close_soon, closer) == 0);
        if (what == 0)
            EXPECT(!vchan_rs_client_init(0, "/vchan/nobody", &o) && errno == ESHUTDOWN);
        if (what == 1)
            EXPECT(!vchan_rs_server_init(0, "/vchan/nobody", 1, 1, &o) && errno == ESHUTDOWN);
        if (what == 2) {
            EXPECT(FAILS(vchan_rs_read(client, &byte, 1, -1), ESHUTDOWN, CLOSED));
            EXPECT(FAILS(libxenvchan_data_ready(client), ESHUTDOWN, CLOSED) && libxenvchan_is_open(server) == 0);
        }
        pthread_join(thread, NULL);
        if (what == 2)
            EXPECT(!vchan_rs_client_init(0, "/vchan/closed", &o));
        vchan_rs_closer_free(closer);
    }
    libxenvchan_close(client);
    libxenvchan_close(server);
    vchan_rs_closer_close(NULL);
    vchan_rs_closer_free(NULL);
}

int main(void)
{
    EXPECT(vchan_rs_last_error_kind() == VCHAN_RS_ERROR_NONE);
    ports();
    orders();
    exported();
    leaving();
    closers();
    puts("ending: all well");
    return 0;
}
