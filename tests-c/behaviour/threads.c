/* A reader and a writer thread on one channel, and closing it under a blocked thread. */
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct worker {
    struct end *e;
    pthread_t thread;
    _Atomic pid_t tid;
    atomic_bool done;
    int ret, error;
    size_t total; /* how much a stream moves */
};

static void start(struct worker *w, struct end *e, void *(*run)(void *))
{
    w->e = e;
    if (pthread_create(&w->thread, NULL, run, w)) {
        perror("behaviour: making a thread");
        exit(2);
    }
    while (!atomic_load(&w->tid))
        poll(NULL, 0, 1);
}

/* Waits until the thread has finished (true), or stays asleep. */
static bool finishes(struct worker *w)
{
    for (int looks = 0; looks < LOOKS; looks = thread_sleeps(getpid(), w->tid) ? looks + 1 : 0) {
        if (atomic_load(&w->done))
            return true;
        poll(NULL, 0, 1);
    }
    return atomic_load(&w->done);
}

static void *read_once(void *arg)
{
    struct worker *w = arg;
    uint8_t data[100];

    atomic_store(&w->tid, gettid());
    errno = 0;
    w->ret = libxenvchan_read(w->e->ctrl, data, sizeof(data));
    w->error = errno;
    if (w->ret > 0)
        check(is_pattern(data, (size_t)w->ret, 0), "the reader got wrong data");
    atomic_store(&w->done, true);
    return NULL;
}

static void *write_once(void *arg)
{
    struct worker *w = arg;
    uint8_t data[100];

    atomic_store(&w->tid, gettid());
    fill_pattern(data, sizeof(data), w->e->sent);
    errno = 0;
    w->ret = libxenvchan_write(w->e->ctrl, data, sizeof(data));
    w->error = errno;
    atomic_store(&w->done, true);
    return NULL;
}

enum { DRAIN, FEED, CLOSE, STEPS };
static const char *const step_names[] = { "peer-read", "peer-wrote", "peer-closed", "nothing" };

/* Both threads sleep, the named one first; then the peer reads, writes, closes. */
static void both_blocked(struct end *e, const void *arg)
{
    struct worker reader = { 0 }, writer = { 0 };
    const bool reader_first = *(const bool *)arg;
    int reader_by = STEPS, writer_by = STEPS;

    open_both(e, 4096, 4096);
    check(put_some(e, RING_MAX) == 4096, "the empty ring did not take all");
    drain_events(e->ctrl);
    e->ctrl->blocking = 1;
    if (reader_first) {
        start(&reader, e, read_once);
        check(!finishes(&reader), "the reader did not block");
    }
    start(&writer, e, write_once);
    check(!finishes(&writer), "the writer did not block");
    if (!reader_first) {
        start(&reader, e, read_once);
        check(!finishes(&reader), "the reader did not block");
    }
    for (int step = DRAIN; step < STEPS; step++) {
        tell(e, step);
        hear(e);
        if (writer_by == STEPS && finishes(&writer))
            writer_by = step;
        if (reader_by == STEPS && finishes(&reader))
            reader_by = step;
    }
    result("reader", "released-by=%s %s", step_names[reader_by], reader_by == STEPS ? "hangs" : outcome(reader.ret, reader.error));
    result("writer", "released-by=%s %s", step_names[writer_by], writer_by == STEPS ? "hangs" : outcome(writer.ret, writer.error));
}

static void both_blocked_peer(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    for (int step = DRAIN; step < STEPS; step++) {
        switch (hear(e)) {
        case DRAIN: check(take_some(e, 4096) == 4096, "the ring was not full"); break;
        case FEED: check(put_some(e, 50) == 50, "no room"); break;
        default: close_end(e);
        }
        tell(e, 0);
    }
}

static void run_both_blocked(const void *arg) { with_peer(SERVER, both_blocked, both_blocked_peer, arg); }

static void *write_stream(void *arg)
{
    struct worker *w = arg;
    static uint8_t data[3000];
    size_t sent = 0;

    atomic_store(&w->tid, gettid());
    while (sent < w->total) {
        fill_pattern(data, sizeof(data), sent);
        if (libxenvchan_write(w->e->ctrl, data, sizeof(data)) != (int)sizeof(data))
            break;
        sent += sizeof(data);
    }
    w->ret = sent == w->total;
    atomic_store(&w->done, true);
    return NULL;
}

static void *read_stream(void *arg)
{
    struct worker *w = arg;
    static uint8_t data[5000];
    size_t got = 0;
    int ret;

    atomic_store(&w->tid, gettid());
    while (got < w->total && (ret = libxenvchan_read(w->e->ctrl, data, sizeof(data))) > 0) {
        check(is_pattern(data, (size_t)ret, got), "wrong data in the stream");
        got += (unsigned int)ret;
    }
    w->ret = got == w->total;
    atomic_store(&w->done, true);
    return NULL;
}

/* A stream in each direction, both threads on each side. */
static void duplex(struct end *e, const void *arg)
{
    struct worker reader = { .total = 3000 * 700 }, writer = { .total = 3000 * 700 };

    (void)arg;
    open_both(e, 4096, 4096);
    e->ctrl->blocking = 1;
    start(&reader, e, read_stream);
    start(&writer, e, write_stream);
    pthread_join(reader.thread, NULL);
    pthread_join(writer.thread, NULL);
    check(reader.ret && writer.ret, "the streams are not complete");
    meet(e);
    if (!e->is_peer)
        result("both-ways", "bytes=%zu", reader.total);
    close_end(e);
}

static void run_duplex(const void *arg) { with_peer(SERVER, duplex, duplex, arg); }

/* The channel is closed while a thread is blocked in it. */
static void close_under(struct end *e, const void *arg)
{
    struct worker w = { 0 };
    bool reading = *(const bool *)arg;

    open_both(e, 4096, 4096);
    if (!reading)
        check(put_some(e, RING_MAX) == 4096, "the empty ring did not take all");
    drain_events(e->ctrl);
    e->ctrl->blocking = 1;
    start(&w, e, reading ? read_once : write_once);
    check(!finishes(&w), "the thread did not block");
    close_end(e);
    pthread_join(w.thread, NULL);
    result("blocked-call", "%s", outcome(w.ret, w.error));
    meet(e);
}

static void close_under_peer(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    meet(e);
    close_end(e);
}

static void run_close_under(const void *arg) { with_peer(SERVER, close_under, close_under_peer, arg); }

/* The peer writes and closes at once while this side reads: no data may be lost. */
static void close_race(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    e->ctrl->blocking = !e->is_peer;
    meet(e);
    if (e->is_peer) {
        check(put_some(e, 3000) == 3000, "no room");
        close_end(e);
        return;
    }
    uint8_t data[512];
    size_t got = 0;
    int ret;
    while ((ret = libxenvchan_read(e->ctrl, data, sizeof(data))) > 0)
        got += (unsigned int)ret;
    check(got == 3000, "%zu bytes of 3000 arrived before the end", got);
    close_end(e);
}

static void run_close_race(const void *arg)
{
    (void)arg;
    for (int round = 0; round < 200; round++)
        with_peer(CLIENT, close_race, close_race, NULL);
    result("rounds", "complete=%s", any_check_failed() ? "no" : "yes");
}

void add_thread_tests(void)
{
    static const bool yes = true, no = false;

    add_test(run_both_blocked, &yes, "threads.both-blocked.reader-first");
    add_test(run_both_blocked, &no, "threads.both-blocked.writer-first");
    add_test(run_close_under, &yes, "threads.close-under-read");
    add_test(run_close_under, &no, "threads.close-under-write");
    add_test(run_duplex, NULL, "race.threads-duplex");
    add_test(run_close_race, NULL, "race.close");
}
