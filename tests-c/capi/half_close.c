/* Half-close, and leaving because of a failure. Both ends live in this process. */
#include <vchan-rs.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)
/* -1 with this errno and this kind. */
#define FAILS(call, error, kind) \
    (errno = 0, (call) == -1 && errno == (error) && vchan_rs_last_error_kind() == VCHAN_RS_ERROR_##kind)

static struct libxenvchan *ends[2];

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "half_close.c:%d: failed: %s (errno %s, \"%s\")\n", line, what, strerror(errno),
                vchan_rs_last_error());
        exit(1);
    }
}

static void open_pair(int blocking)
{
    ends[0] = vchan_rs_server_init(0, "/vchan/half-close", 4096, 4096, NULL);
    EXPECT(ends[0] != NULL);
    ends[1] = vchan_rs_client_init(0, "/vchan/half-close", NULL);
    EXPECT(ends[1] != NULL);
    /* The server receives its client's first event. */
    EXPECT(vchan_rs_accept(ends[0], -1) == 0);
    ends[0]->blocking = ends[1]->blocking = blocking;
}

static void close_pair(void)
{
    libxenvchan_close(ends[0]);
    libxenvchan_close(ends[1]);
}

static void question_and_answer(struct libxenvchan *asking, struct libxenvchan *answering)
{
    char data[16];

    EXPECT(vchan_rs_peer_half_closes(asking) == 1 && vchan_rs_peer_half_closes(answering) == 1);
    EXPECT(libxenvchan_write(asking, "question", 8) == 8 && vchan_rs_shutdown(asking) == 0);
    EXPECT(vchan_rs_shutdown(asking) == 0);
    EXPECT(FAILS(libxenvchan_write(asking, "x", 1), ESHUTDOWN, CLOSED));
    EXPECT(FAILS(libxenvchan_send(asking, "x", 1), ESHUTDOWN, CLOSED));
    EXPECT(FAILS(libxenvchan_recv(answering, data, 9), EPIPE, PEER_FINISHED));
    EXPECT(libxenvchan_read(answering, data, sizeof(data)) == 8 && !memcmp(data, "question", 8));
    EXPECT(FAILS(libxenvchan_read(answering, data, sizeof(data)), EPIPE, PEER_FINISHED));
    EXPECT(FAILS(vchan_rs_read(answering, data, sizeof(data), -1), EPIPE, PEER_FINISHED));
    EXPECT(libxenvchan_is_open(answering) == 1 && libxenvchan_is_open(asking) == 1);
    EXPECT(libxenvchan_write(answering, "answer", 6) == 6);
    EXPECT(libxenvchan_read(asking, data, sizeof(data)) == 6 && !memcmp(data, "answer", 6));
    EXPECT(vchan_rs_wait_drained(asking, -1) == 0 && vchan_rs_wait_drained(answering, -1) == 0);
    EXPECT(vchan_rs_shutdown(answering) == 0);
    EXPECT(FAILS(libxenvchan_read(asking, data, sizeof(data)), EPIPE, PEER_FINISHED));
}

/* Programs for Xen's library know only one kind of end. To their peers they look like such programs, and no stream
 * ends before the peer leaves. */
static void programs_of_the_original(int ours_serves)
{
    struct libxenvchan *original, *ours;
    char data[16];

    if (ours_serves) {
        ours = vchan_rs_server_init(0, "/vchan/original", 4096, 4096, NULL);
        original = libxenvchan_client_init(NULL, 0, "/vchan/original");
        EXPECT(ours && original && vchan_rs_accept(ours, -1) == 0);
    } else {
        original = libxenvchan_server_init(NULL, 0, "/vchan/original", 4096, 4096);
        ours = vchan_rs_client_init(0, "/vchan/original", NULL);
        EXPECT(ours && original && vchan_rs_accept(original, -1) == 0);
    }
    EXPECT(libxenvchan_write(original, "word", 4) == 4);
    EXPECT(vchan_rs_read(ours, data, sizeof(data), -1) == 4);
    EXPECT(vchan_rs_peer_half_closes(ours) == 0);
    EXPECT(libxenvchan_write(ours, "last", 4) == 4 && vchan_rs_shutdown(ours) == 0);
    EXPECT(libxenvchan_read(original, data, sizeof(data)) == 4);
    EXPECT(FAILS(vchan_rs_read(original, data, sizeof(data), 10), ETIMEDOUT, TIMED_OUT));
    EXPECT(libxenvchan_is_open(original) == 1);
    EXPECT(vchan_rs_abort(ours) == 0);
    EXPECT(FAILS(vchan_rs_read(original, data, sizeof(data), -1), EPIPE, PEER_CLOSED));
    libxenvchan_close(original);
    libxenvchan_close(ours);
}

static void *read_to_the_end(void *end)
{
    char data[16];

    EXPECT(FAILS(libxenvchan_read(end, data, sizeof(data)), EPIPE, PEER_FINISHED));
    return NULL;
}

static void a_blocked_reader(struct libxenvchan *one, struct libxenvchan *other)
{
    pthread_t thread;

    EXPECT(pthread_create(&thread, NULL, read_to_the_end, other) == 0);
    EXPECT(vchan_rs_shutdown(one) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
}

static void a_poller(struct libxenvchan *one, struct libxenvchan *other)
{
    struct pollfd poller = { .fd = libxenvchan_fd_for_select(other), .events = POLLIN };
    char data[4];

    EXPECT(libxenvchan_read(other, data, sizeof(data)) == 0);
    while (poll(&poller, 1, 0) == 1)
        EXPECT(libxenvchan_wait(other) == 0 && libxenvchan_read(other, data, sizeof(data)) == 0);
    EXPECT(vchan_rs_shutdown(one) == 0);
    EXPECT(poll(&poller, 1, -1) == 1 && libxenvchan_wait(other) == 0);
    EXPECT(FAILS(libxenvchan_read(other, data, sizeof(data)), EPIPE, PEER_FINISHED));
}

static void a_failure(struct libxenvchan *one, struct libxenvchan *other)
{
    char data[16];

    EXPECT(libxenvchan_write(one, "half", 4) == 4 && vchan_rs_abort(one) == 0);
    EXPECT(FAILS(vchan_rs_shutdown(one), ESHUTDOWN, CLOSED));
    EXPECT(libxenvchan_read(other, data, sizeof(data)) == 4);
    EXPECT(FAILS(libxenvchan_read(other, data, sizeof(data)), ECONNABORTED, PEER_ABORTED));
    EXPECT(FAILS(libxenvchan_write(other, "x", 1), ECONNABORTED, PEER_ABORTED));
    EXPECT(libxenvchan_is_open(other) == 0);
}

int main(void)
{
    for (int first = 0; first < 2; first++) {
        open_pair(1);
        question_and_answer(ends[first], ends[!first]);
        close_pair();
        open_pair(1);
        a_blocked_reader(ends[first], ends[!first]);
        close_pair();
        open_pair(0);
        a_poller(ends[first], ends[!first]);
        close_pair();
        open_pair(1);
        a_failure(ends[first], ends[!first]);
        close_pair();
        programs_of_the_original(first);
    }
    puts("half_close: passed");
    return 0;
}
