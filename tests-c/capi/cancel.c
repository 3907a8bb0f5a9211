/* pthread_cancel of threads in calls: the thread ends, the channel keeps working. Both ends live in this
 * process. */
#include <vchan-rs.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)

enum call { READ, RECV, WAIT, WRITE, SEND, ACCEPT, CONNECT, NONBLOCKING, CALLS };
static const char *const names[] = { "read", "recv", "wait", "write", "send", "accept", "connect", "non-blocking calls" };

static struct libxenvchan *server, *client;
static const char *at = "";
static atomic_int begun, cleaned;

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "cancel.c:%d, %s: failed: %s (errno %s, \"%s\")\n", line, at, what, strerror(errno),
                vchan_rs_last_error());
        exit(1);
    }
}

static void on_cancel(void *arg)
{
    (void)arg;
    cleaned = 1;
}

static void make_calls(enum call call)
{
    static char data[65536];
    struct vchan_rs_options o = { .size = sizeof(o), .timeout_ms = -1 };

    switch (call) {
    case READ: libxenvchan_read(client, data, 10); break;
    case RECV: libxenvchan_recv(client, data, 10); break;
    case WAIT:
        while (libxenvchan_wait(client) == 0)
            ;
        break;
    case WRITE: libxenvchan_write(client, data, sizeof(data)); break;
    case SEND: libxenvchan_send(client, data, 4096); break;
    case ACCEPT: vchan_rs_accept(server, -1); break;
    case CONNECT: vchan_rs_client_init(0, "/vchan/nobody", &o); break;
    default:
        for (;;) {
            libxenvchan_read(client, data, 10);
            libxenvchan_write(client, data, 10);
            libxenvchan_data_ready(client);
            libxenvchan_is_open(client);
            pthread_testcancel();
        }
    }
}

static void *blocked(void *arg)
{
    pthread_cleanup_push(on_cancel, NULL);
    begun = 1;
    make_calls(*(enum call *)arg);
    pthread_cleanup_pop(0);
    return NULL;
}

static void open_pair(enum call call)
{
    server = libxenvchan_server_init(NULL, 0, "/vchan/cancel", 4096, 4096);
    EXPECT(server != NULL);
    client = NULL;
    if (call != ACCEPT) {
        client = libxenvchan_client_init(NULL, 0, "/vchan/cancel");
        EXPECT(client != NULL);
        client->blocking = call != NONBLOCKING;
    }
    if (call == SEND)
        EXPECT(vchan_rs_write(client, "some", 4, 0) == 4);
}

/* The channel works, and closes. */
static void use_and_close(enum call call)
{
    char data[8];

    if (call == ACCEPT) {
        client = libxenvchan_client_init(NULL, 0, "/vchan/cancel");
        EXPECT(client != NULL);
        EXPECT(vchan_rs_accept(server, 5000) == 0);
    }
    client->blocking = 1;
    EXPECT(vchan_rs_write(server, "hello", 5, 5000) == 5);
    EXPECT(libxenvchan_recv(client, data, 5) == 5 && !memcmp(data, "hello", 5));
    libxenvchan_close(client);
    libxenvchan_close(server);
}

static void cancel_in(enum call call, int round)
{
    pthread_t thread;
    void *result;

    at = names[call];
    open_pair(call);
    begun = cleaned = 0;
    EXPECT(pthread_create(&thread, NULL, blocked, &call) == 0);
    while (!begun)
        ;
    /* At any time: before the call, while it polls, asleep. */
    if (round % 4)
        usleep(round % 4 == 1 ? 5000 : rand() % 200);
    EXPECT(pthread_cancel(thread) == 0);
    EXPECT(pthread_join(thread, &result) == 0);
    EXPECT(result == PTHREAD_CANCELED && cleaned);
    use_and_close(call);
}

/* A thread with cancellation disabled is not cancelled in a call. */
static void *disabled(void *arg)
{
    char data[8];
    int old;

    (void)arg;
    EXPECT(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
    begun = 1;
    EXPECT(libxenvchan_recv(client, data, 5) == 5);
    EXPECT(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old) == 0 && old == PTHREAD_CANCEL_DISABLE);
    return client;
}

static void not_while_disabled(void)
{
    pthread_t thread;
    void *result;

    at = "disabled";
    open_pair(READ);
    begun = 0;
    EXPECT(pthread_create(&thread, NULL, disabled, NULL) == 0);
    while (!begun)
        ;
    usleep(5000);
    EXPECT(pthread_cancel(thread) == 0);
    usleep(5000);
    EXPECT(vchan_rs_write(server, "hello", 5, 5000) == 5);
    EXPECT(pthread_join(thread, &result) == 0 && result == client);
    use_and_close(READ);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20;

    for (int round = 0; round < rounds; round++)
        for (int call = 0; call < CALLS; call++)
            cancel_in(call, round);
    not_while_disabled();
    printf("cancel: %d rounds of %d kinds of calls\n", rounds, CALLS);
    return 0;
}
